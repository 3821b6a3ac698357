package formats_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"tapedeck/cli/formats"
	"tapedeck/events"
)

func TestReadHAROfChromium(t *testing.T) {
	r := read("har", "", golden(t, "browser.har"), formats.Options{})
	if r.err != nil {
		t.Fatal(r.err)
	}
	equal(t, lines(r.exchanges), []string{
		`HTTP/2.0 GET https://shop.example/products?category=tea "" -> 200 "[{\"name\":\"Darjeeling\"}]"`,
		`HTTP/2.0 POST https://shop.example/login "user=ann%40example.com&q=a%20b" -> 302 ""`,
		`HTTP/1.1 GET http://gone.example/ "" !net::ERR_CONNECTION_REFUSED`,
	})
	equal(t, r.leftOut, map[string]int{"answered by the browser's cache": 1, "not http: data": 1})
	x := r.exchanges[0]
	// Pseudo headers are no headers, and the body is not packed any more.
	equal(t, header(x.Request.Headers), "accept-encoding: gzip, deflate, br, zstd\ncookie: sid=s1; theme=dark\n")
	equal(t, header(x.Response.Headers), "content-length: 23\ncontent-type: application/json\n")
	first := time.Date(2026, 3, 1, 10, 0, 0, 130e6, time.UTC).UnixNano() // behind blocked, dns and connect
	equal(t, []int64{x.Request.FirstByte, x.Request.LastByte, x.Response.FirstByte, x.Response.LastByte},
		[]int64{first, first + 250e3, first + 20250e3, first + 30500e3})
	if c := x.Connection; c.Server != "[2001:db8::7]:443" || c.Tls.GetServerName() != "shop.example" || c.Ordinal != 0 {
		t.Errorf("connection %v", c)
	}
	second := r.exchanges[1]
	if c := second.Connection; string(c.Id) != string(x.Connection.Id) || c.Ordinal != 1 {
		t.Errorf("the second exchange has connection %v, want the first's", c)
	}
	if want := time.Date(2026, 3, 1, 10, 0, 1, 0, time.UTC).UnixNano(); second.Request.FirstByte != want {
		t.Errorf("began at %d, want %d", second.Request.FirstByte, want)
	}
}

func TestReadHAROfCharlesAndProxyman(t *testing.T) {
	r := read("har", "", append([]byte("\ufeff"), golden(t, "charles.har")...), formats.Options{Direction: events.Direction_OUTBOUND})
	if r.err != nil {
		t.Fatal(r.err)
	}
	equal(t, lines(r.exchanges), []string{`HTTP/1.1 PUT http://cart.example:8080/items/7 "{\"n\": 2}\n" -> 200 "\x00\xff\x80\n"`})
	x := r.exchanges[0]
	if got := events.HeaderValue(x.Request.Headers, "Cookie"); got != "cart=c-9" || x.Direction != events.Direction_OUTBOUND || x.Connection.Server != "10.0.0.5:8080" {
		t.Errorf("cookie %q, direction %v, connection %v", got, x.Direction, x.Connection)
	}
	r = read("har", "", golden(t, "proxyman.har"), formats.Options{})
	if r.err != nil {
		t.Fatal(r.err)
	}
	equal(t, lines(r.exchanges), []string{`HTTP/2.0 GET https://api.example:8443/v1/me "" -> 204 ""`})
	x = r.exchanges[0]
	equal(t, header(x.Response.Headers), "date: Sun, 01 Mar 2026 10:00:00 GMT\n")
	if c := x.Connection; c.Client != "127.0.0.1:52114" || c.Server != "203.0.113.9:8443" {
		t.Errorf("connection %v", c)
	}
}

// What is written as HAR is read back equal, whatever is in it.
func TestHARRoundTrip(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(`{"a":1}`))
	z.Close()
	gzipped := exchange("GET", "/gz", nil, "200", packed.Bytes())
	gzipped.Response.Headers = []*events.Field{field("Content-Encoding", "gzip")}
	unknown := exchange("POST", "/br", []byte("\x0b\x02\x80hi\x03"), "200", []byte("\x0b\x02\x80hi\x03"))
	unknown.Response.Headers = []*events.Field{field("Content-Encoding", "br")}
	odd := exchange("GET", "/a%20b?q=%FF&x", nil, "200", []byte("ok"))
	odd.Request.Headers = append(odd.Request.Headers, field("X-Latin", "caf\xe9"), field("X-Empty", ""))
	odd.Response.Trailers = []*events.Field{field("Checksum", "1")}
	odd.Interim = []*events.Response{{Status: "103", Reason: "Early Hints", Version: "HTTP/1.1", Headers: []*events.Field{field("Link", "</a>")}}}
	cut := exchange("GET", "/cut", nil, "200", []byte("half"))
	cut.Response.Body.Size, cut.Response.Body.Hmac = 1000, []byte{1, 2, 3}
	early := exchange("PUT", "/early", []byte("abc"), "413", nil)
	early.Request.LastByte = early.Response.LastByte + 99
	failed := exchange("GET", "/failed", nil, "", nil)
	failed.Failure, failed.Direction = "reset by peer", events.Direction_OUTBOUND
	failed.Redactions = []*events.Redaction{{Place: "request.header.Authorization", Class: "credential", Action: "token"}}
	absolute := exchange("GET", "http://other.example/x?y=1", nil, "200", nil)
	binary := exchange("POST", "/b", []byte("a\x00\xffb"), "200", []byte("\x00\x01"))
	h2 := exchange("GET", "/h2", nil, "200", []byte("snowman \u2603 \u2028 </script>"))
	h2.Request.Version, h2.Response.Version, h2.Request.Scheme = "HTTP/2.0", "HTTP/2.0", "https"
	h2.Connection.Tls = &events.TLS{Version: "TLS 1.3", Alpn: "h2", ServerName: "shop.example"}
	all := []*events.Exchange{gzipped, unknown, odd, cut, early, failed, absolute, binary, h2}

	file := write(t, "har", all...)
	r := read("", "", file, formats.Options{})
	if r.err != nil {
		t.Fatal(r.err)
	}
	equal(t, r.exchanges, all)
	if again := write(t, "har", r.exchanges...); !bytes.Equal(again, file) {
		t.Error("the file that is written again differs")
	}
}

// The file has what the format asks for (its fields without "optional").
func TestHARHasTheFormatsFields(t *testing.T) {
	var file struct {
		Log struct {
			Version string
			Creator map[string]string
			Entries []map[string]any
		}
	}
	if err := json.Unmarshal(write(t, "har", exchange("POST", "/a?b=c%20d", []byte("x"), "200", []byte("y"))), &file); err != nil {
		t.Fatal(err)
	}
	e := file.Log.Entries[0]
	for object, fields := range map[string][]string{
		"":         {"startedDateTime", "time", "request", "response", "cache", "timings"},
		"request":  {"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize", "postData"},
		"response": {"status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL", "headersSize", "bodySize"},
		"timings":  {"send", "wait", "receive"},
	} {
		o := e
		if object != "" {
			o = e[object].(map[string]any)
		}
		for _, f := range fields {
			if o[f] == nil {
				t.Errorf("%s has no %s", object, f)
			}
		}
	}
	if file.Log.Version != "1.2" || file.Log.Creator["name"] != "tapedeck" || e["startedDateTime"] != "2026-03-01T10:00:00.123456789Z" {
		t.Errorf("version %q, creator %v, started %v", file.Log.Version, file.Log.Creator, e["startedDateTime"])
	}
	equal(t, e["request"].(map[string]any)["queryString"], any([]any{map[string]any{"name": "b", "value": "c d"}}))
}

func TestHAREditedByHand(t *testing.T) {
	file := string(write(t, "har", exchange("GET", "/a", nil, "200", []byte("old"))))
	file = strings.NewReplacer(`"text":"old"`, `"text":"new text"`, `"url":"http://shop.example/a"`, `"url":"http://shop.example/b?c"`, `"status":200`, `"status":201`).Replace(file)
	r := read("har", "", []byte(file), formats.Options{})
	equal(t, lines(r.exchanges), []string{`HTTP/1.1 GET http://shop.example/b?c "" -> 201 "new text"`})
}

func TestHARBodiesAreBounded(t *testing.T) {
	file := write(t, "har", exchange("GET", "/a", nil, "200", bytes.Repeat([]byte("x"), 5000)))
	r := read("har", "", file, formats.Options{MaxBody: 1000})
	if b := r.exchanges[0].Response.Body; len(b.Data) != 1000 || b.Kept != 1000 || b.Size != 5000 {
		t.Errorf("data %d, kept %d, size %d", len(b.Data), b.Kept, b.Size)
	}
}

func TestHARErrorsSayWhere(t *testing.T) {
	whole := string(golden(t, "charles.har"))
	for file, want := range map[string]string{
		`{"log":{"version":"1.2"}}`: "it has no log.entries",
		`{"log":{"entries":5}}`:     "found 5, want [",
		`[]`:                        "found [, want {",
		whole[:len(whole)/2]:        "after 0 entries: the file is cut off",
		whole[:len(whole)-5]:        "after 1 entries: the file is cut off",
		strings.Replace(whole, "2026-03-01T12", "yesterday", 1):                      `entry 1: startedDateTime "yesterday:00:00.500+0200" is no time`,
		strings.Replace(whole, "http://cart.example:8080/items/7", "http://[::1", 1): "entry 1: url",
		strings.Replace(whole, `"AP+A\nCg=="`, `"not base64!"`, 1):                   "entry 1: response: illegal base64",
		strings.Replace(whole, `"time":33`, `"time":"soon"`, 1):                      "byte ",
	} {
		r := read("har", "", []byte(file), formats.Options{})
		if r.err == nil || !strings.Contains(r.err.Error(), want) || !strings.Contains(r.err.Error(), "har: byte ") {
			t.Errorf("error %v, want %q", r.err, want)
		}
	}
}

func FuzzReadHAR(f *testing.F) {
	for _, name := range []string{"browser.har", "charles.har", "proxyman.har"} {
		f.Add(golden(f, name))
	}
	f.Add(write(f, "har", exchange("POST", "/a", []byte("\xff"), "200", []byte("b"))))
	f.Fuzz(func(t *testing.T, file []byte) {
		r := read("har", "", file, formats.Options{MaxBody: 4096})
		checkExchanges(t, r.exchanges, 4096)
		// What was read can be written, and is read the same again.
		r.exchanges = slices.DeleteFunc(r.exchanges, func(x *events.Exchange) bool { return x.Protocol != "http" })
		again := read("har", "", write(t, "har", r.exchanges...), formats.Options{MaxBody: 4096})
		if again.err != nil && len(again.exchanges) != len(r.exchanges) && !strings.Contains(again.err.Error(), "url") {
			t.Fatalf("read again: %v", again.err)
		}
	})
}

// checkExchanges holds what a reader promises to those who tape.
func checkExchanges(t testing.TB, xs []*events.Exchange, maxBody int) {
	t.Helper()
	for _, x := range xs {
		if x.Request == nil || x.Connection == nil || len(x.Connection.Id) != 16 || x.Direction == 0 || x.Protocol == "" {
			t.Fatalf("exchange %v", x)
		}
		for _, b := range []*events.Body{x.Request.Body, x.Response.GetBody()} {
			if b != nil && (len(b.Data) > maxBody || b.Kept != int64(len(b.Data)) || b.Size < b.Kept || len(b.Parts) > 0) {
				t.Fatalf("body of %d bytes, kept %d, size %d, %d parts", len(b.Data), b.Kept, b.Size, len(b.Parts))
			}
		}
		if len(x.Segments) > 0 {
			t.Fatal("segments of a tape that is not here")
		}
	}
}
