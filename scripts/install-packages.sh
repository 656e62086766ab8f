#!/bin/sh
# Installs Debian packages for the commands that are missing, and does nothing when none is.
# Usage: install-packages.sh COMMAND:PACKAGE[,PACKAGE]...   e.g. curl:curl npm:nodejs,npm
# With NO_SERVICES=1 no service that a package brings is started.
set -eu

missing=
for pair in "$@"; do
    command=${pair%%:*}
    case $command in
        # Debian splits the part of Python that makes environments into a package of its own.
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null && continue ;;
        # Modules of nginx are no commands.
        nchan) [ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] && continue ;;
        *) PATH=$PATH:/usr/sbin command -v "$command" >/dev/null 2>&1 && continue ;;
    esac
    missing="$missing $(echo "${pair#*:}" | tr , ' ')"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null 2>&1 || as_root=none
fi
if [ "$as_root" = none ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "These packages are needed and cannot be installed from here:$missing" >&2
    echo "Install them (the names are Debian's) and run the same command again." >&2
    exit 1
fi

echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
if [ "${NO_SERVICES:-}" = 1 ] && [ ! -e /usr/sbin/policy-rc.d ]; then
    # Debian asks this file whether a service may be started; 101 is no. It goes when we are done.
    trap '$as_root rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 1' INT TERM
    printf '#!/bin/sh\nexit 101\n' | $as_root tee /usr/sbin/policy-rc.d >/dev/null
    $as_root chmod +x /usr/sbin/policy-rc.d
fi
# shellcheck disable=SC2086 # one word a package
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
