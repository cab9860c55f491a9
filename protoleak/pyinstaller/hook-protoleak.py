"""What a frozen program needs of protoleak besides the modules that its imports name."""

from PyInstaller.utils.hooks import collect_data_files  # type: ignore[import-not-found,unused-ignore]

from protoleak import _HOME_OF
from protoleak.cli.commands import COMMANDS, module_of
from protoleak.isolation.worker import MODULES

datas = collect_data_files("protoleak")  # the default bundle, licences, kernels
hiddenimports = sorted({"protoleak.errors", *_HOME_OF.values(), *MODULES, *map(module_of, COMMANDS)})
