# A crowd that takes every place of port 25 that it gets: so many connections of each address, silent, or with one octet
# now and then, begun anew at once when they end. It never reads more than the greeting.
import errno, random, select, socket, sys, time

host, port, sources, each, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
addresses = ["100.64.%d.1" % n for n in range(sources)]
poll, held = select.epoll(), {}
tried = held_now = refused = 0
again = []


def begin(address):
    global tried
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    client.bind((address, 0))
    try:
        client.connect((host, port))
    except OSError as error:
        if error.errno != errno.EINPROGRESS:
            client.close()
            again.append((time.monotonic() + 0.1, address))
            return
    tried += 1
    held[client.fileno()] = [client, address, False]
    poll.register(client, select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR)


def end(number):
    global held_now
    client, address, greeted = held.pop(number)
    held_now -= greeted
    poll.unregister(client)
    client.close()
    return address


for _ in range(each):
    for address in addresses:
        begin(address)
print("ready", flush=True)
until = time.monotonic() + seconds
octet_at = report_at = time.monotonic() + 5
while time.monotonic() < until:
    for number, _ in poll.poll(0.1, 512):
        try:
            said = held[number][0].recv(512)
        except OSError:
            said = b""
        if said.startswith(b"220"):
            held[number][2], held_now = True, held_now + 1
            poll.modify(number, select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP)
            continue
        refused += said.startswith(b"421")
        begin(end(number))
    now = time.monotonic()
    waiting, again = again, []
    for due, address in waiting:
        begin(address) if due <= now else again.append((due, address))
    if now > octet_at:
        octet_at = now + 5
        for number in [number for number, (_, _, greeted) in held.items() if greeted and random.random() < 0.5]:
            try:
                held[number][0].send(b"N")
            except OSError:
                pass
    if now > report_at:
        report_at = now + 5
        print("tried %d, refused %d, holds %d" % (tried, refused, held_now), flush=True)
