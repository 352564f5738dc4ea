# The history of a repository: read, repacked and checked.    git.sh REPOSITORY FOLDER
set -e
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
rm -rf "$2"
git clone -q --bare --no-local --single-branch "$1" "$2"
cd "$2"
git log --stat | cksum
git log -p -n 40 | cksum
git rev-list --objects HEAD | wc -l
git gc -q --prune=now
git fsck --full --strict
git grep -c allocator HEAD | cksum
