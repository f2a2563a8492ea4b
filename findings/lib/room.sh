# What the scripts share: a room of their own, which is gone when they end. Read in by `. lib/room.sh`.
#
# Scripts are run by sh, from any directory; those that unpack Debian packages need root, and see nothing but the loopback.
#
# A script installs pinned public packages in $room by the machine's own clients, shows the behaviour that its header
# describes, and ends with 0 while it is as described, with 1 when it has changed, and with 2 when it could not be tried
# (a package is no longer to be had, or root is needed).

export LC_ALL=C.UTF-8

could_not_be_tried() {
    echo "could not be tried: $*" >&2
    exit 2
}

if [ -n "${FINDING_ROOM-}" ]; then
    room=$FINDING_ROOM
else
    room=$(mktemp -d)
    chmod 755 "$room"
    mkdir -p "$room/crate/src"
    trap 'rm -rf "$room"' EXIT
    trap 'exit 2' INT TERM
fi
root=$room/root

# python_packages NAME==VERSION...: a library and what it needs, for python3.
python_packages() {
    [ -z "${FINDING_ROOM-}" ] || return 0
    python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action ignore \
        --target "$room/python" "$@" || could_not_be_tried "$*"
    export PYTHONPATH="$room/python" PYTHONDONTWRITEBYTECODE=1
}

# crate: a Rust program whose [dependencies] are standard input and whose source is $room/crate/src/main.rs, built as $room/program.
crate() {
    [ -z "${FINDING_ROOM-}" ] || return 0
    { printf '[package]\nname = "program"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n'; cat; } > "$room/crate/Cargo.toml"
    cargo build --quiet --manifest-path "$room/crate/Cargo.toml" --target-dir "$room/target" > "$room/cargo.log" 2>&1 || {
        tail -n 20 "$room/cargo.log" >&2
        could_not_be_tried "the program does not build"
    }
    mv "$room/target/debug/program" "$room/program"
    rm -rf "$room/target"
}

# debian SUITE NAME=VERSION...: packages of a Debian suite and all that they need, unpacked in $root and not installed.
# The mirror is the one that this machine is set up for.
debian() {
    [ -z "${FINDING_ROOM-}" ] || return 0
    [ "$(id -u)" = 0 ] || could_not_be_tried "root is needed"
    suite=$1
    shift
    mirror=$(apt-get indextargets --format '$(SITE) $(LABEL)' 'Created-By: Packages' | sed -n 's/ Debian$//p' | head -n 1)
    [ -n "$mirror" ] || mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null |
        sed -n 's/^\(deb .*\|URIs: *\)\(https\{0,1\}:[^ ]*\/debian\)\/\{0,1\}\( .*\)\{0,1\}$/\2/p' | head -n 1)
    [ -n "$mirror" ] || could_not_be_tried "no Debian mirror is set up"
    mkdir -p "$room/apt/lists/partial" "$room/apt/archives/partial" "$root"
    : > "$room/apt/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$room/apt/sources.list"
    own_apt_get() {
        apt-get --quiet=2 -o Dir::Etc::SourceList="$room/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
            -o Dir::State="$room/apt" -o Dir::State::Lists="$room/apt/lists" -o Dir::State::status="$room/apt/status" \
            -o Dir::Cache="$room/apt" -o Dir::Cache::Archives="$room/apt/archives" -o APT::Sandbox::User=root \
            -o Acquire::Languages=none -o APT::Install-Recommends=false -o Debug::NoLocking=true "$@"
    }
    own_apt_get update || could_not_be_tried "the list of $suite"
    own_apt_get install --yes --download-only "$@" > "$room/apt/log" 2>&1 || {
        tail -n 5 "$room/apt/log" >&2
        could_not_be_tried "$* of $suite"
    }
    # From merged /usr on, a package may bring /lib or /usr/lib: they are one.
    mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
    for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
    for archive in "$room"/apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$archive" | tar -x -C "$root" --keep-directory-symlink
    done
    rm -rf "$room/apt"
    mkdir -p "$root/proc" "$root/dev" "$root/run" "$root/tmp" "$root/var/log" "$root/etc"
    chmod 1777 "$root/tmp"
    [ -e "$root/var/run" ] || ln -s ../run "$root/var/run"
    printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' > "$root/etc/passwd"
    printf 'root:x:0:\nmail:x:8:\nnogroup:x:65534:\n' > "$root/etc/group"
    printf '127.0.0.1 localhost\n' > "$root/etc/hosts"
    printf 'passwd: files\ngroup: files\nhosts: files\n' > "$root/etc/nsswitch.conf"
    : > "$root/etc/resolv.conf"
}

# user NAME NUMBER: somebody in $root, with a group of the same name.
user() {
    [ -z "${FINDING_ROOM-}" ] || return 0
    printf '%s:x:%s:%s::/nonexistent:/bin/sh\n' "$1" "$2" "$2" >> "$root/etc/passwd"
    printf '%s:x:%s:\n' "$1" "$2" >> "$root/etc/group"
}

# alone: from here on the script has a network (loopback only) and process numbers of its own; all that it starts ends with it.
alone() {
    if [ -z "${FINDING_ROOM-}" ]; then
        status=0
        FINDING_ROOM=$room unshare --mount --net --pid --fork --kill-child --mount-proc sh "$0" || status=$?
        exit "$status"
    fi
    ip link set lo up
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
}

# inside PROGRAM...: runs a program of $root.
inside() {
    LC_ALL=C chroot "$root" "$@"
}

# wait_for_port NUMBER: until somebody listens there, for half a minute.
wait_for_port() {
    for _ in $(seq 300); do
        if python3 -c "import socket; socket.create_connection(('127.0.0.1', $1), 1)" 2> /dev/null; then return 0; fi
        sleep 0.1
    done
    could_not_be_tried "nobody listens on port $1"
}

# as_described WHAT FOUND DESCRIBED: ends the script when the behaviour has changed.
as_described() {
    echo "$1: $2"
    [ "$2" = "$3" ] || {
        echo "changed: it was '$3'" >&2
        exit 1
    }
}
