"""An agency's service that notes what it is asked, so that a check can see whether something was lost or done twice.

POST /notes/{number}: appends the number to the file of the first argument, and says back the length and SHA-256 of the body.
GET /bodies/{bytes}: so many bytes. Says its port when it serves.
"""

import hashlib
import http.server
import sys


class Notes(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.body()
        with open(sys.argv[1], "a", encoding="ascii") as notes:
            notes.write(self.path.rpartition("/")[2] + "\n")
        self.answer(f"{len(body)} {hashlib.sha256(body).hexdigest()}\n".encode())

    def do_GET(self):
        self.answer(b"7" * int(self.path.rpartition("/")[2]))

    def body(self):
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = bytearray()
        while length := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(body)

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Notes)
print(server.server_address[1], flush=True)
server.serve_forever()
