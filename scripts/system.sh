#!/bin/sh
# Installs Debian packages that are missing: by itself where it may, else it says what to type.
set -eu

missing=""
for package in "$@"; do
    case "$package" in
        ffmpeg) command -v ffmpeg >/dev/null || missing="$missing $package" ;;
        mosquitto) command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || missing="$missing $package" ;;
        janus) command -v janus >/dev/null || missing="$missing $package" ;;
        chromium) command -v chromium >/dev/null || missing="$missing $package" ;;
        prometheus) command -v promtool >/dev/null && command -v prometheus >/dev/null || missing="$missing $package" ;;
        systemd) command -v systemd-analyze >/dev/null || missing="$missing $package" ;;
        faketime) ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing="$missing $package" ;;
        iproute2) command -v ip >/dev/null || [ -x /usr/sbin/ip ] || missing="$missing $package" ;;
        gstreamer-rtsp-server)
            # Its bindings belong to the system's Python, whichever runs attuned.
            /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null \
                && command -v gst-inspect-1.0 >/dev/null && gst-inspect-1.0 x264enc >/dev/null 2>&1 \
                || missing="$missing python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-tools \
gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly" ;;
        libgl1) ldconfig -p 2>/dev/null | grep -q 'libGL\.so\.1' || missing="$missing $package" ;;
        python3-venv) "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing $package" ;;
        libglib2.0-0) ldconfig -p 2>/dev/null | grep -q 'libglib-2\.0\.so\.0' || missing="$missing $package" ;;
        *) echo "scripts/system.sh: does not know $package" >&2; exit 2 ;;
    esac
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "these are missing:$missing" >&2
    echo "install them: sudo apt-get install$missing   (or your system's packages of the same libraries)" >&2
    exit 1
fi
