#!/bin/sh
# podman-compose 1.0.3 (PyPI, and Debian 12's): a service with `network_mode: host` is started in the project's default network as well.
#
# Compose specification, "network_mode": the mode replaces the service's networks ("host" gives the container raw access to the host's), and the two
# exclude each other. podman-compose adds `--net PROJECT_default --network-alias SERVICE` after `--network host`, which podman 4 refuses: "cannot set
# multiple networks without bridge network mode". The service does not start; `up -d` ends with 0. 1.3.0, which Debian 13 has, starts it.
#
# Seen: "--network host --net p_default" with the mode, "--net p_default" without. podman is played by a script that writes its arguments down.
set -eu
. "$(dirname "$0")/lib/room.sh"

mkdir "$room/bin"
cat > "$room/bin/podman" <<'PODMAN'
#!/bin/sh
case " $* " in *" --version "*) echo "podman version 4.3.1"; exit 0 ;; esac
echo "$*" >> "$ASKED"
case "$1" in ps) exit 0 ;; image) echo '[{"Id": "1"}]'; exit 0 ;; esac
exit 0
PODMAN
chmod +x "$room/bin/podman"
ASKED="$room/asked"
export ASKED
python_packages podman-compose==1.0.3 PyYAML==6.0.3 python-dotenv==1.2.1
networks() {
    : > "$ASKED"
    printf 'services:\n  a:\n    image: localhost/a:1\n%s' "$1" > "$room/compose.yaml"
    (cd "$room" && PATH="$room/bin:$PATH" python3 -m podman_compose -p p up -d) > "$room/out" 2> "$room/err" || true
    grep -E '^(run|create) ' "$ASKED" | head -n 1 | grep -oE -- '--net(work)?[ =][^ ]+' | tr '\n' ' ' | sed 's/ $//'
}
as_described "without a mode" "$(networks '')" "--net p_default"
as_described "network_mode: host" "$(networks '    network_mode: host
')" "--network host --net p_default"
