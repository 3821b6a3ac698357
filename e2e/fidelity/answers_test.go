package fidelity

import "strings"

// answers are what an origin of sockets says, well-formed or not.
var answers = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n",
	"HTTP/1.0 200 OK\r\n\r\nuntil the end",
	"",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\ncut off",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\nabc",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello\xff\xff\xff",
	"HTTP/1.1 2xx \x00\r\n\r\n\r\nHTTP/9",
	"HTTP/1.1 200\nContent-Length: 2\n\nok",
	"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nD : e\r\n: f\r\nno colon\r\nConnection: close, A\r\n\r\nbody",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxtoo much",
	"220 a server that speaks first\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n:\n\nid: \x00\ndata\n\n",
	"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
	"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 40<<10) + "\r\n\r\n",
	"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\xff\xff",
	"just text",
	"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n\r\r\n\n",
}
