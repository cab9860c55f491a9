"""An RTSP server on loopback with a moving test image, 25 frames per second, 320×240, H.264.

    /usr/bin/python3 rtsp_server.py PORT

Runs with Debian's Python, whose packages python3-gi and gir1.2-gst-rtsp-server-1.0 bring GStreamer's RTSP server.
Prints "ready" when it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 the versions have to be asked for first

Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service=sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory(shared=True)
factory.set_launch(
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1"
    " ! openh264enc gop-size=25 ! rtph264pay name=pay0 config-interval=1 )"
)
server.get_mount_points().add_factory("/test", factory)
if server.attach(None) == 0:
    sys.exit("the port is taken")
print("ready", flush=True)
GLib.MainLoop().run()
