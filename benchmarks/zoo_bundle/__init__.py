"""The bundle of the zoo: the controlled experiment that the ablations are run on."""
