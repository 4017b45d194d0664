"""A client on a blocking socket, without Trio."""

import socket

from trio_websocket.protocol import (
    NEED_DATA,
    ClientHandshake,
    CloseReceived,
    Role,
    Session,
    TextReceived,
)


def open_session(sock: socket.socket) -> Session:
    handshake = ClientHandshake(host="127.0.0.1:8000", resource="/")
    flush(sock, handshake)
    while (answer := handshake.next_event()) is NEED_DATA:
        receive(sock, handshake)
    print(answer)
    session = Session(Role.CLIENT)
    session.receive_data(handshake.trailing_data)
    return session


def receive(sock: socket.socket, side: ClientHandshake | Session) -> None:
    data = sock.recv(65536)
    if data:
        side.receive_data(data)
    else:
        side.receive_eof()


def flush(sock: socket.socket, side: ClientHandshake | Session) -> None:
    data = side.data_to_send()
    if data:
        sock.sendall(data)


def main() -> None:
    with socket.create_connection(("127.0.0.1", 8000)) as sock:
        session = open_session(sock)
        session.send_message("hello")
        while not isinstance(event := session.next_event(), CloseReceived):
            if isinstance(event, TextReceived):
                print(event.data)
                session.send_close(1000)
            # Pongs are among it.
            flush(sock, session)
            if event is NEED_DATA:
                receive(sock, session)
        # The answer, if it was the server that closed.
        flush(sock, session)


if __name__ == "__main__":
    main()
