#!/bin/sh
# Makes the Debian package of a binary that is built: its manual pages and completions, then the package itself.
# Usage: package.sh CARGO_DEB PROFILE [FOLDER]    from the repository's root; into target/package, or FOLDER
set -eu

cargo_deb=$1
profile=$2
folder=${3:-target/package}
binary=${CARGO_TARGET_DIR:-target}/$profile/tidegate

rm -rf target/package/man
mkdir -p target/package/man
"$binary" man --to target/package/man
for shell in bash fish zsh; do
    "$binary" completions "$shell" >"target/package/tidegate.$shell"
done
"$cargo_deb" --no-build --locked --profile "$profile" --output "$folder/"
