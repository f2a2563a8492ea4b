# A tunnel as an operator has one: packets in UDP, from the end that dials to the end that listens. It encrypts nothing.
# python3 tunnel.py NAME OWN/BITS listen|dial ADDRESS PORT
import fcntl, os, select, socket, struct, subprocess, sys, time

name, own, role, address, port = sys.argv[1:]
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
subprocess.run(["ip", "addr", "add", own, "dev", name], check=True)
subprocess.run(["ip", "link", "set", name, "up", "mtu", "1300"], check=True)
carrier = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
far = None
if role == "listen":
    carrier.bind((address, int(port)))
else:
    far = (address, int(port))
print("ready", flush=True)
greeted = 0.0
while True:
    # Who dials says where he is, again and again, as behind a router.
    if role == "dial" and time.monotonic() - greeted > 1:
        greeted = time.monotonic()
        try:
            carrier.sendto(b"", far)
        except OSError:
            pass
    for ready in select.select([tun, carrier], [], [], 0.5)[0]:
        try:
            if ready is tun:
                packet = os.read(tun, 2000)
                if far:
                    carrier.sendto(packet, far)
            else:
                packet, sender = carrier.recvfrom(2000)
                if role == "listen":
                    far = sender
                if packet:
                    os.write(tun, packet)
        except OSError:
            pass
