package redact

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"tapedeck/events"
)

// What e2e/canary has found once, each as a test of its own. The secrets are
// made here: one by its looks, a host name can hold it, and one by name.
var (
	leakKey  = "ghp_" + strings.Repeat("k3y", 12)
	leakWord = strings.Repeat("w0rd", 5)
)

func TestLeaksOfBodies(t *testing.T) {
	e := New(testKey(t))
	for _, test := range []struct{ kind, body string }{
		{"application/json", `{"a":1,]"password" : "WORD",}`},
		{"text/plain", "[a]\npassword = \"WORD\"\n"},
		{"application/x-www-form-urlencoded", "user[name]=a&user%5Bpassword%5D=WORD"},
		{"application/sql", "create user ada with password 'WORD'"},
		{"application/sql", "create user 'ada'@'%' identified by 'WORD'"},
		{"application/xml", "<a><Password><value>WORD</value></Password></a>"},
		{"application/xml", "<a><u.KEY>1</u.KEY></a>"},
		{"text/html", `<input type="hidden" name="csrf_token" value="WORD">`},
		{"text/html", `<input value="WORD" name=password>`},
		{"text/html", `<meta name="csrf-token" content="WORD"/>`},
		{"text/html", "<script>if (a < 1) { b = 'KEY' }</script>"},
		{"application/grpc-web-text", "AAAAACoKKEtFWQ=="},
	} {
		body := strings.NewReplacer("KEY", leakKey, "WORD", leakWord).Replace(test.body)
		if test.kind == "application/grpc-web-text" {
			message := append([]byte{0x0a, byte(len(leakKey))}, leakKey...)
			body = string(base64Raw([]byte("=")).AppendEncode(nil, append([]byte{0, 0, 0, 0, byte(len(message))}, message...)))
		}
		out, marks := redactBody(t, e, test.kind, body, nil)
		for _, secret := range []string{leakKey, leakWord} {
			if form := leftOf(out, secret); form != "" {
				t.Errorf("%s %s: %s is left in %s", test.kind, body, form, out)
			}
		}
		if len(marks) == 0 {
			t.Errorf("%s %s: nothing is marked", test.kind, body)
		}
		if again, _ := redactBody(t, e, test.kind, string(out), marks); !bytes.Equal(again, out) {
			t.Errorf("%s: twice %s, once %s", test.kind, again, out)
		}
	}
}

// TestWideTexts: UTF-16 is redacted in UTF-8 and stays UTF-16.
func TestWideTexts(t *testing.T) {
	e := New(testKey(t))
	wide := func(s string) string { return strings.Join(strings.Split(s, ""), "\x00") + "\x00" }
	for kind, body := range map[string]string{
		"text/plain; charset=utf-16le": wide("Dear ") + wide(leakKey),
		"text/xml":                     "\xff\xfe" + wide("<a><Password>"+leakWord+"</Password></a>"),
	} {
		out, _ := redactBody(t, e, kind, body, nil)
		if bytes.Contains(out, []byte(wide(leakKey))) || bytes.Contains(out, []byte(wide(leakWord))) || !bytes.Contains(out, []byte(wide("td1_"))) {
			t.Errorf("%s: %q", kind, out)
		}
	}
	if out, marks := redactBody(t, e, "text/plain; charset=utf-16", "\xff\xfea", nil); string(out) != "\xff\xfea" || len(marks) > 0 {
		t.Errorf("half a letter became %q", out)
	}
}

func TestLeaksOfHeads(t *testing.T) {
	e := New(testKey(t))
	for _, name := range []string{"Etag", "Server", "Vary", "Accept", "Accept-Language", "Cache-Control", "Date", "Expires", "Traceparent", "Www-Authenticate", "Sec-WebSocket-Key", "Host", "Content-Type"} {
		if got := fieldOf(e, name, `x; a="for `+leakKey+`"`); strings.Contains(got, leakKey) {
			t.Errorf("%s: %s", name, got)
		}
	}
	for name, value := range map[string]string{
		"Set-Cookie": "a=b; Path=/users/" + leakKey, "Cookie": leakKey + "=1", "X-Hub-Signature-256": leakKey, "X-Hub-Signature": leakWord, "Ocp-Apim-Subscription-Key": leakWord,
	} {
		if got := fieldOf(e, name, value); strings.Contains(got, leakKey) || strings.Contains(got, leakWord) {
			t.Errorf("%s: %s", name, got)
		}
	}
	shared := &events.TLS{ServerName: leakKey + ".shop.example"}
	x := &events.Exchange{
		Connection: &events.Connection{Server: leakKey + ".shop.example:443", Tls: shared},
		Request: &events.Request{Method: leakKey, Host: "u:" + leakWord + "@shop.example", Target: "/next/" + string(base64Raw(nil).AppendEncode(nil, []byte("user="+leakKey))) + "/x?" + leakKey + "=1",
			Headers: []*events.Field{{Name: []byte("X-" + leakKey), Value: []byte("1")}}},
		Interim:  []*events.Response{{Status: "103", Reason: "see " + leakKey}},
		Response: &events.Response{Status: "401", Reason: "bad password=" + leakWord},
		Failure:  "malformed: " + leakKey,
	}
	e.Head(x)
	for _, secret := range []string{leakKey, leakWord} {
		if form := leftOf([]byte(prototext.Format(x)), secret); form != "" {
			t.Errorf("%s is left in %s", form, prototext.Format(x))
		}
	}
	if shared.ServerName != leakKey+".shop.example" {
		t.Error("the TLS of the connection was written to")
	}
	if host := e.Host(leakKey + ".shop.example:80"); strings.Contains(host, leakKey) || !strings.HasSuffix(host, ".shop.example:80") {
		t.Errorf("host %s", host)
	}
	once := proto.CloneOf(x)
	if e.Head(x); !proto.Equal(once, x) {
		t.Errorf("twice %v, once %v", x, once)
	}
}

// TestMarksHoldNoNames: a mark says where a secret stood, which may be beside one.
func TestMarksHoldNoNames(t *testing.T) {
	e := New(testKey(t))
	for kind, body := range map[string]string{
		"application/x-www-form-urlencoded":  leakKey + "=a@bcd.ef",
		"multipart/form-data; boundary=b":    "--b\r\nContent-Disposition: form-data; name=\"" + leakKey + "\"\r\n\r\na@bcd.ef\r\n--b--\r\n",
		"application/json":                   `{"` + leakKey + `":"a@bcd.ef"}`,
		"application/xml":                    "<" + leakKey + ">a@bcd.ef</" + leakKey + ">",
		"application/x-www-form-urlencoded;": "a=1&" + leakKey,
	} {
		_, marks := redactBody(t, e, kind, body, nil)
		for _, m := range marks {
			if strings.Contains(m.Place, leakKey) {
				t.Errorf("%s: mark %v", kind, m)
			}
		}
	}
}

// TestEventsName: the name of a server-sent event is the type of its message.
func TestEventsName(t *testing.T) {
	source := &events.Exchange{Response: &events.Response{Headers: []*events.Field{{Name: []byte("Content-Type"), Value: []byte("text/event-stream")}}}}
	m := &events.Message{Side: events.Side_RESPONSE, Type: leakKey, Data: []byte("event: " + leakKey + "\ndata: 1\n\n")}
	if data, _ := New(testKey(t)).Message(source, m); strings.Contains(m.Type+string(data), leakKey) {
		t.Errorf("type %s, data %s", m.Type, data)
	}
}

// TestUntilCut: of a body that was cut off the last value may be half of one.
func TestUntilCut(t *testing.T) {
	for in, want := range map[string]string{
		"write to ada@exam":            "write to",
		`{"note":"ada@exam`:            `{"note":"`,
		"card 4242 4242 4242 4":        "card",
		"a,b,GB33 BUKB 2020":           "a,b,GB33 BUKB",
		"":                             "",
		strings.Repeat("x", overlap+9): "xxxxxxxxx",
	} {
		if got := string(untilCut([]byte(in))); got != want {
			t.Errorf("%.40q: got %.40q, want %.40q", in, got, want)
		}
	}
	socket := &events.Exchange{Response: &events.Response{Status: "101"}}
	m := &events.Message{Side: events.Side_REQUEST, Type: "text", Data: []byte("to ada@exam"), Size: 1 << 20}
	if data, _ := New(testKey(t)).Message(socket, m); string(data) != "to" {
		t.Errorf("a message that was cut off: %q", data)
	}
}

// TestPlainFieldsStay: what machines say to each other is not taken for a secret.
func TestPlainFieldsStay(t *testing.T) {
	e := New(testKey(t))
	for name, value := range map[string]string{
		"Traceparent":         "00-" + strings.Repeat("4", 32) + "-4242424242424242-01",
		"Content-Type":        "multipart/form-data; boundary=---4242424242424242",
		"Date":                "Sat, 28 Nov 2026 15:44:02 GMT",
		"Accept":              "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
		"Host":                "shop.example:8080",
		"Cache-Control":       "private, max-age=31536000",
		"Etag":                `W/"33a64df551425fcc55e4d42a148795d9f25f89d4"`,
		"Sec-Websocket-Key":   "dGhlIHNhbXBsZSBub25jZQ==",
		"X-Forwarded-For":     "192.0.2.43, 2001:db8::1",
		"Content-Disposition": "attachment; filename=\"the secret's out.txt\"",
	} {
		if got := fieldOf(e, name, value); got != value {
			t.Errorf("%s: %s became %s", name, value, got)
		}
	}
	for _, host := range []string{"shop.example", "[2001:db8::1]:443", "10.0.0.1:8080", "api-4242.eu-west-1.amazonaws.com"} {
		if got := e.Host(host); got != host {
			t.Errorf("host %s became %s", host, got)
		}
	}
}
