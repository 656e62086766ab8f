#!/bin/sh
# The world of one scene: a network of its own, a clean checkout in place of the project's folder, and the
# system's folders, to which it may write what nobody else sees. Run by `unshare`; it goes with its last process.
# Usage: world.sh FOLDER PROJECT BINARIES COMMAND...    FOLDER is empty; BINARIES holds what the tests have built
set -eu

folder=$1 project=$2 binaries=$3
shift 3

ip link set lo up
mount -t tmpfs -o mode=755 walkthrough "$folder"

for system in etc usr var; do
    upper=$folder/$system/upper work=$folder/$system/work
    mkdir -p "$upper" "$work"
    mount -t overlay -o "lowerdir=/$system,upperdir=$upper,workdir=$work" overlay "/$system"
done

# Everything that git knows or would add, so that what is about to be committed counts.
checkout=$folder/checkout
mkdir -p "$checkout/target"
cd "$project"
git ls-files -z --cached --others --exclude-standard --deduplicate |
    tar --create --null --files-from=- --ignore-failed-read --warning=no-failed-read |
    tar --extract --directory="$checkout"
# What `make deps` has installed, and what the tests have built where that is in the project.
for installed in target/venv target/tools tests/clients/node_modules "${binaries#"$project"/}"; do
    case $installed in /*) continue ;; esac
    [ -d "$installed" ] || continue
    mkdir -p "$checkout/$installed"
    mount --rbind "$installed" "$checkout/$installed"
done

# Programs that a reader has installed; cargo stands for itself but for what it would build.
mkdir "$folder/bin"
install --mode=755 tests/walkthrough/cargo.sh "$folder/bin/cargo"
[ ! -e target/venv/bin/k6 ] || ln -s "$project/target/venv/bin/k6" "$folder/bin/k6"
WALKTHROUGH_CARGO=$(command -v cargo)
export WALKTHROUGH_CARGO WALKTHROUGH_BINARIES="$binaries" PATH="$folder/bin:$PATH"

mount --rbind "$checkout" "$project"
cd "$project"
exec "$@"
