package canary

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// streams are the places in what is more, or less, than an exchange of HTTP.
func streams() []place {
	return slices.Concat(sockets, sse, calls, splits, broken, answers, proxied, opaque)
}

// sent makes a place of something that is said.
func sent(name string, named bool, say func(w *wires, s string)) place {
	p := place{name: name, secret: anyLooks, send: func(w *wires, s string, _ int) []string {
		say(w, s)
		return nil
	}}
	if named {
		p.secret = noLooks
	}
	return p
}

const plain, deflated = websocket.CompressionDisabled, websocket.CompressionContextTakeover

var sockets = []place{
	sent("WebSocket, JSON", true, func(w *wires, s string) { w.socket(websocket.MessageText, plain, "", `{"a":1,"password":"`+s+`"}`) }),
	sent("WebSocket, text", false, func(w *wires, s string) { w.socket(websocket.MessageText, plain, "", "42 hello "+s) }),
	sent("WebSocket, text by name", true, func(w *wires, s string) { w.socket(websocket.MessageText, plain, "", "AUTH password="+s) }),
	sent("WebSocket, bytes", false, func(w *wires, s string) { w.socket(websocket.MessageBinary, plain, "", "\x00\xff\x01 "+s+" \x00") }),
	sent("WebSocket, protobuf", false, func(w *wires, s string) {
		w.socket(websocket.MessageBinary, plain, "", "\x08\x01"+field(2, field(1, s)))
	}),
	sent("WebSocket, deflated", true, func(w *wires, s string) { w.socket(websocket.MessageText, deflated, "", `{"a":1,"password":"`+s+`"}`) }),
	sent("WebSocket, in fragments", false, func(w *wires, s string) { w.socket(websocket.MessageText, plain, "", "to "+s[:7], s[7:]+" now") }),
	sent("WebSocket, why it is closed", false, func(w *wires, s string) { w.socket(websocket.MessageText, plain, "bye "+s, "x") }),
	sent("WebSocket's URL", true, func(w *wires, s string) {
		c, _, err := websocket.Dial(w.t.Context(), "ws://"+w.inbound+"/chat?access_token="+s, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		c.Close(websocket.StatusNormalClosure, "")
	}),
	sent("another protocol behind an upgrade", false, func(w *wires, s string) {
		w.ask("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shop\r\n\r\n", "hello "+s+" \x00\x01")
	}),
}

// sse are server-sent events.
var sse = []place{
	sent("event, JSON", true, func(w *wires, s string) { w.events("data: {\"a\":1,\"password\":\"" + s + "\"}\n\n") }),
	sent("event, JSON over lines", true, func(w *wires, s string) { w.events("data: {\"a\":1,\ndata: \"password\":\"" + s + "\"}\n\n") }),
	sent("event, text", false, func(w *wires, s string) { w.events("data: hello " + s + "\n\n") }),
	sent("event's name", false, func(w *wires, s string) { w.events("event: " + s + "\ndata: 1\n\n") }),
	sent("event's id", false, func(w *wires, s string) { w.events("id: " + s + "\ndata: 1\n\n") }),
	sent("event's comment", false, func(w *wires, s string) { w.events(": ping " + s + "\n\ndata: 1\n\n") }),
	sent("event in pieces", false, func(w *wires, s string) { w.events("data: hello "+s[:7], s[7:]+"\n", "\n") }),
	sent("event that is cut off", true, func(w *wires, s string) { w.events("data: {\"password\":\"" + s) }),
	sent("event that is long", false, func(w *wires, s string) { w.events("data: " + strings.Repeat("word ", 20_000) + s + "\n\n") }),
}

func (w *wires) events(pieces ...string) {
	w.ask(append([]string{"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"}, pieces...)...)
}

// call is a letter of gRPC.
func call(messages ...string) letter {
	l := letter{call: "/shop.Users/Find", contentType: "application/grpc", headers: []string{"Te", "trailers"}, trailers: []string{"Grpc-Status", "13"}}
	for _, m := range messages {
		l.body += string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m)))) + m
	}
	return l
}

func calling(name string, named bool, put func(s string) letter) place {
	p := byLooks("gRPC, "+name, put)
	if named {
		p = byName("gRPC, "+name, put)
	}
	p.send = func(w *wires, s string, _ int) []string {
		l := put(s)
		l.send(w.t, w.http2, "http://"+w.inbound)
		return l.as
	}
	return p
}

var calls = []place{
	calling("a field", false, func(s string) letter { return call(field(1, s)) }),
	calling("a field in a field", false, func(s string) letter { return call(field(3, "\x08\x05"+field(1, "to "+s))) }),
	calling("a field by name", true, func(s string) letter {
		l := call(field(1, "ada") + field(2, s))
		l.call = "/shop.Logins/Open" // capture has its descriptor
		return l
	}),
	calling("a field by name in the second message", true, func(s string) letter {
		l := call(field(1, "ada"), field(3, field(2, s)))
		l.call = "/shop.Logins/Open"
		return l
	}),
	calling("the second message", false, func(s string) letter { return call(field(1, "x"), field(1, "hello "+s)) }),
	calling("JSON in a field", true, func(s string) letter { return call(field(1, `{"password":"`+s+`"}`)) }),
	calling("bytes in a field", false, func(s string) letter { return call(field(1, "\x00\xff\xfe "+s+" \x00")) }),
	calling("a packed message", false, func(s string) letter {
		l := call(s)
		packed := pack("gzip", field(1, "hello "+s))
		l.headers = append(l.headers, "Grpc-Encoding", "gzip")
		l.body, l.as = string(binary.BigEndian.AppendUint32([]byte{1}, uint32(len(packed))))+packed, []string{packed}
		return l
	}),
	calling("metadata", true, func(s string) letter {
		l := call(field(1, "x"))
		l.headers = append(l.headers, "Authorization", "Bearer "+s, "User-Bin", base64.RawStdEncoding.EncodeToString([]byte(s)))
		return l
	}),
	calling("what went wrong", false, func(s string) letter {
		l := call(field(1, "x"))
		l.trailers = append(l.trailers, "Grpc-Message", url.PathEscape("no user "+s))
		return l
	}),
	calling("details of that", false, func(s string) letter {
		l := call(field(1, "x"))
		l.trailers = append(l.trailers, "Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString([]byte("\x08\x0d"+field(2, "no user "+s))))
		return l
	}),
	calling("binary trailer", true, func(s string) letter {
		l := call(field(1, "x"))
		l.trailers = append(l.trailers, "User-Bin", base64.RawStdEncoding.EncodeToString([]byte(s)))
		return l
	}),
	calling("a message that is cut off", false, func(s string) letter {
		l := call(field(1, "hello "+s+strings.Repeat(" x", 100)))
		l.body = l.body[:len(l.body)-100]
		return l
	}),
	calling("JSON", true, func(s string) letter {
		l := call(`{"password":"` + s + `"}`)
		l.contentType = "application/grpc+json"
		return l
	}),
	byLooks("gRPC-Web", func(s string) letter {
		l := call(field(1, s))
		return letter{path: l.call, contentType: "application/grpc-web+proto", body: l.body}
	}),
	byLooks("gRPC-Web as text", func(s string) letter {
		return letter{path: "/shop.Users/Find", contentType: "application/grpc-web-text", body: b64(call(field(1, "to "+s)).body)}
	}),
}

// split makes a place of two messages with a half of the secret each.
func split(name string, secret func(r *rand.Rand) string, say func(w *wires, a, b string)) place {
	return place{name: "split over " + name, secret: func(r *rand.Rand, _ int) string { return secret(r) }, send: func(w *wires, s string, _ int) []string {
		a, b := s[:len(s)/2], s[len(s)/2:]
		say(w, a, b)
		return []string{a, b}
	}}
}

func unlike(r *rand.Rand) string { return noLooks(r, 0) }

func delta(s string) string { return `{"choices":[{"delta":{"content":"` + s + `"}}]}` }

var splits = []place{
	split("two WebSocket messages", key, func(w *wires, a, b string) { w.messages(websocket.MessageText, "use "+a, b+" now") }),
	split("two WebSocket messages by name", unlike, func(w *wires, a, b string) { w.messages(websocket.MessageText, "login password="+a, b+" now") }),
	split("two WebSocket messages of JSON", unlike, func(w *wires, a, b string) {
		w.messages(websocket.MessageText, `{"a":1,"password":"`+a, b+`","b":2}`)
	}),
	split("texts in two WebSocket messages of JSON", key, func(w *wires, a, b string) { w.messages(websocket.MessageText, delta(a), delta(b)) }),
	split("two WebSocket messages of bytes", key, func(w *wires, a, b string) { w.messages(websocket.MessageBinary, "\x00\xff "+a, b+" \x00\xfe") }),
	split("two events", key, func(w *wires, a, b string) { w.events("data: use "+a+"\n\n", "data: "+b+" now\n\n") }),
	split("texts in two events of JSON", key, func(w *wires, a, b string) {
		w.events("data: "+delta("use "+a)+"\n\n", "data: "+delta(b+" now")+"\n\n", "data: [DONE]\n\n")
	}),
	split("two events of JSON", unlike, func(w *wires, a, b string) {
		w.events("data: {\"a\":1,\"password\":\""+a+"\n\n", "data: "+b+"\"}\n\n")
	}),
	split("two gRPC messages", key, func(w *wires, a, b string) {
		call(field(1, "use "+a), field(1, b+" now")).send(w.t, w.http2, "http://"+w.inbound)
	}),
}

// messages says something over a WebSocket.
func (w *wires) messages(kind websocket.MessageType, texts ...string) {
	w.t.Helper()
	c, _, err := websocket.Dial(w.t.Context(), "ws://"+w.inbound+"/chat", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.CloseNow()
	for _, text := range texts {
		if err := c.Write(w.t.Context(), kind, []byte(text)); err != nil {
			w.t.Fatal(err)
		}
		if _, got, err := c.Read(w.t.Context()); err != nil || string(got) != text {
			w.t.Errorf("WebSocket: got %.80q, %v", got, err)
		}
	}
	c.Close(websocket.StatusNormalClosure, "")
}

// raw says something to the service that may be no HTTP.
func raw(name string, named bool, pieces func(s string) []string) place {
	return sent(name, named, func(w *wires, s string) { w.tell(w.inbound, pieces(s)...) })
}

func one(format string) func(s string) []string {
	return func(s string) []string { return []string{strings.ReplaceAll(format, "SECRET", s)} }
}

var broken = []place{
	raw("a request of no version", true, one("GET /a?access_token=SECRET HTTP/9.9\r\nHost: a\r\n\r\n")),
	raw("a request of HTTP/0.9", true, one("GET /a?access_token=SECRET\r\n")),
	raw("a request of HTTP/1.0", true, one("GET /a?access_token=SECRET HTTP/1.0\r\n\r\n")),
	raw("a target with a blank", true, one("GET /a b?access_token=SECRET HTTP/1.1\r\nHost: a\r\n\r\n")),
	raw("a target that is absolute", true, one("GET http://u:SECRET@shop.example/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")),
	raw("a target with a fragment", true, one("GET /a#access_token=SECRET HTTP/1.1\r\nHost: a\r\n\r\n")),
	always(key, raw("a method", false, one("SECRET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))),
	raw("a header without a colon", true, one("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization Bearer SECRET\r\n\r\n")),
	raw("a header with a blank before the colon", true, one("GET /a HTTP/1.1\r\nHost: a\r\nX-Api-Key : SECRET\r\n\r\n")),
	raw("a header over lines", true, one("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\r\n SECRET\r\n\r\n")),
	raw("a header with NUL", true, one("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \x00SECRET\r\n\r\n")),
	raw("lines that end with LF", true, one("GET /a?token=SECRET HTTP/1.1\nHost: a\nAuthorization: Bearer SECRET\n\n")),
	raw("a request that ends in a header", true, one("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer SECRET")),
	raw("a request that ends in its target", true, one("GET /a?access_token=SECRET")),
	raw("a body that ends early", true, one("POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"a\":1,\"password\":\"SECRET\"")),
	raw("chunks that end early", false, one("POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nto SECRET and")),
	raw("chunks in pieces", false, func(s string) []string {
		return []string{"POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("5\r\n%s\r\n", s[:5]),
			fmt.Sprintf("%x\r\n%s", len(s)-5, s[5:8]), s[8:] + "\r\n0\r\n\r\n"}
	}),
	raw("a chunk's extension", true, one("POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1;token=SECRET\r\nx\r\n0\r\n\r\n")),
	raw("a chunk that is none", false, one("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz SECRET\r\nx\r\n")),
	raw("two lengths", true, one("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\nAuthorization: Bearer SECRET\r\n\r\nhello!")),
	raw("requests behind each other", true, one("GET /a?token=SECRET HTTP/1.1\r\nHost: a\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\nX-Api-Key: SECRET\r\nConnection: close\r\n\r\n")),
	raw("a head in pieces", true, func(s string) []string {
		return []string{"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAutho", "rization: Bearer " + s[:5], s[5:] + "\r\n\r\n"}
	}),
	always(key, raw("a host", false, one("GET /a HTTP/1.1\r\nHost: SECRET.shop.example\r\nConnection: close\r\n\r\n"))),
	raw("a host with userinfo", true, one("GET /a HTTP/1.1\r\nHost: u:SECRET@shop.example\r\nConnection: close\r\n\r\n")),
	raw("a head that is too long", true, one("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer SECRET\r\nX-A: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")),
	raw("HTTP/2 that is none", true, one("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\npassword=SECRET and more that is no frame")),
}

func answering(name string, named bool, format string) place {
	return sent(name, named, func(w *wires, s string) { w.ask(strings.ReplaceAll(format, "SECRET", s)) })
}

var answers = []place{
	answering("an answer's reason", false, "HTTP/1.1 401 no SECRET here\r\nContent-Length: 0\r\n\r\n"),
	answering("an answer's reason by name", true, "HTTP/1.1 401 bad password=SECRET\r\nContent-Length: 0\r\n\r\n"),
	answering("an answer's version", false, "SECRET/1.1 200 OK\r\n\r\n"),
	answering("an answer's status", false, "HTTP/1.1 SECRET OK\r\n\r\n"),
	answering("an answer that is none", false, "hello SECRET\r\n\r\n"),
	answering("an answer with a broken header", true, "HTTP/1.1 200 OK\r\nSet-Cookie sid=SECRET\r\n\r\nx"),
	answering("an early hint", true, "HTTP/1.1 103 Early Hints\r\nLink: </a?token=SECRET>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
	answering("an early hint's reason", false, "HTTP/1.1 103 SECRET\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
	answering("an answer that ends early", true, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"token\":\"SECRET"),
	answering("an answer's trailer", true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Auth-Token: SECRET\r\n\r\n"),
	answering("bytes behind an answer", false, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxto SECRET\r\n"),
	answering("an answer's cookie in pieces", true, "HTTP/1.1 200 OK\r\nset-cookie: a=1; path=/\r\nset-cookie: SID=SECRET\r\nContent-Length: 0\r\n\r\n"),
}

var proxied = []place{
	sent("Proxy-Authorization", true, func(w *wires, s string) {
		w.tell(w.proxy, "GET http://"+w.web()+"/a HTTP/1.1\r\nHost: "+w.web()+"\r\nProxy-Authorization: Basic "+b64("u:"+s)+"\r\nConnection: close\r\n\r\n")
	}),
	sent("the proxy's userinfo", true, func(w *wires, s string) {
		w.tell(w.proxy, "GET http://u:"+s+"@"+w.web()+"/a HTTP/1.1\r\nHost: "+w.web()+"\r\nConnection: close\r\n\r\n")
	}),
	sent("CONNECT with credentials", true, func(w *wires, s string) {
		w.tell(w.proxy, "CONNECT "+w.web()+" HTTP/1.1\r\nHost: "+w.web()+"\r\nProxy-Authorization: Bearer "+s+"\r\nX-Api-Key: "+s+"\r\n\r\nGET /a?token="+s+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	}),
	always(key, sent("CONNECT to a host", false, func(w *wires, s string) {
		w.tell(w.proxy, "CONNECT "+s+".invalid:443 HTTP/1.1\r\nHost: "+s+".invalid:443\r\n\r\n")
	})),
	always(key, sent("a host that is not there", false, func(w *wires, s string) {
		w.tell(w.proxy, "GET http://"+s+".invalid/a HTTP/1.1\r\nHost: "+s+".invalid\r\n\r\n")
	})),
	sent("a proxy request that is none", true, func(w *wires, s string) {
		w.tell(w.proxy, "GET shop.example?token="+s+" HTTP/1.1\r\nProxy-Authorization: Basic "+b64("u:"+s)+"\r\n\r\n")
	}),
	sent("SOCKS5's password", true, func(w *wires, s string) {
		w.socks(s, "127.0.0.1", "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	}),
	always(key, sent("SOCKS5's host", false, func(w *wires, s string) { w.socks("x", s+".invalid", "") })),
	always(key, sent("TLS that is passed on", false, func(w *wires, s string) {
		address := w.origin.echo.Addr().String()
		c, err := net.Dial("tcp", w.proxy)
		if err != nil {
			w.t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, address)
		answer := make([]byte, len("HTTP/1.1 200"))
		if _, err := c.Read(answer); err != nil || !strings.HasSuffix(string(answer), " 200") {
			w.t.Fatalf("CONNECT: %q, %v", answer, err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		tls.Client(c, &tls.Config{ServerName: s + ".shop.example", InsecureSkipVerify: true}).Handshake() // fails: its hello comes back
	})),
}

func (w *wires) web() string { return w.origin.web.Listener.Addr().String() }

// socks speaks SOCKS5 with a password (RFC 1928, RFC 1929).
func (w *wires) socks(password, host, then string) {
	_, port, _ := net.SplitHostPort(w.web())
	var number uint16
	fmt.Sscan(port, &number)
	short := func(s string) string { return string([]byte{byte(len(s))}) + s }
	w.tell(w.proxy, "\x05\x01\x02", "\x01"+short("ada")+short(password), "\x05\x01\x00\x03"+short(host)+string(binary.BigEndian.AppendUint16(nil, number)), then)
}

func talk(name string, named bool, pieces func(s string) []string) place {
	return sent(name, named, func(w *wires, s string) { w.tell(w.bytes, pieces(s)...) })
}

var opaque = []place{
	talk("TCP, text", false, one("EHLO a\r\nMAIL FROM:<SECRET>\r\n")),
	talk("TCP, text by name", true, one("login ada password=SECRET\r\n")),
	talk("TCP, bytes", false, one("\x00\x01\x02\xff SECRET \x00\xff")),
	talk("TCP, in pieces", false, func(s string) []string { return []string{"\x00\x01 to ", s[:6], s[6:] + " \x00"} }),
	talk("TCP, a URL", true, one("connect redis://u:SECRET@cache:6379/0\r\n")),
	talk("TCP, JSON", true, one("{\"op\":1,\"password\":\"SECRET\"}\n")),
	talk("TCP, long", false, func(s string) []string {
		return []string{strings.Repeat("\x00\xff\x07\x01", 20_000), " " + s + " ", strings.Repeat("\x00\xff", 500)}
	}),
}
