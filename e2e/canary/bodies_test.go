package canary

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// bodies are the places in bodies.
func bodies() []place {
	return slices.Concat(jsonBodies, nestedBodies, formBodies, multipartBodies, markupBodies, textBodies, binaryBodies, packedBodies(), longBodies)
}

func of(contentType string, put func(s string) string) func(s string) letter {
	return func(s string) letter { return letter{contentType: contentType, body: put(s)} }
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

var jsonBodies = []place{
	byName("JSON by name", of(jsonType, func(s string) string { return `{"user":{"password":"` + s + `"}}` })),
	byName("JSON, 200 deep", of(jsonType, func(s string) string {
		return strings.Repeat(`{"a":[`, 100) + `{"secret":"` + s + `"}` + strings.Repeat("]}", 100)
	})),
	byName("JSON, a name twice", of(jsonType, func(s string) string { return `{"password":"x","password":"` + s + `"}` })),
	byName("JSON, escaped", func(s string) letter {
		escaped := `\u00` + hex.EncodeToString([]byte(s[:1])) + s[1:]
		return letter{contentType: jsonType, body: `{"p\u0061ssword":"` + escaped + `"}`, as: []string{escaped}}
	}),
	byName("JSON, an array under a name", of(jsonType, func(s string) string { return `{"tokens":[],"token":["` + s + `"]}` })),
	byName("JSON, a value that is wrapped", of(jsonType, func(s string) string { return `{"password":{"value":"` + s + `"}}` })),
	byLooks("JSON", of(jsonType, func(s string) string { return `{"note":"call ` + s + ` now"}` })),
	byLooks("JSON, a key", of(jsonType, func(s string) string { return `{"` + s + `":{"n":1}}` })),
	byLooks("JSON, at the top", of(jsonType, func(s string) string { return quoted(s) })),
	byName("JSON, lines of it", of("application/x-ndjson", func(s string) string { return "{\"a\":1}\n{\"token\":\"" + s + "\"}\n" })),
	byName("JSON behind a byte order mark", of(jsonType, func(s string) string { return "\ufeff{\"token\":\"" + s + "\"}" })),
	byName("JSON without a type", of("", func(s string) string { return ` {"token":"` + s + `"}` })),
	byName("JSON as text", of("text/plain", func(s string) string { return `{"token":"` + s + `"}` })),
	byName("JSON as HTML", of("text/html", func(s string) string { return `{"token":"` + s + `"}` })),
	byName("JSON as bytes", of("application/octet-stream", func(s string) string { return `{"token":"` + s + `"}` })),
	byName("JSON in a call", of("application/javascript", func(s string) string { return `cb({"a":1,"password":"` + s + `"})` })),
	byName("JSON, cut off", func(s string) letter {
		return letter{contentType: jsonType, body: `{"a":1,"password":"` + s[:15], as: []string{s[:15]}}
	}),
	byName("JSON that is none", of(jsonType, func(s string) string { return `{"a":1,]"password" : "` + s + `",}` })),
	always(card, byLooks("JSON, a number", of(jsonType, func(s string) string { return `{"x":[` + s + `]}` }))),
	byName("GraphQL's variables", of(jsonType, func(s string) string {
		return `{"query":"mutation($p:String!){login(password:$p){id}}","variables":{"input":{"password":"` + s + `"}}}`
	})),
	byName("GraphQL, in the query", of(jsonType, func(s string) string {
		return `{"query":"mutation{login(user:\"a\", password:\"` + s + `\"){id}}"}`
	})),
	byName("GraphQL as its own type", of("application/graphql", func(s string) string { return `mutation{login(user:"a", password: "` + s + `"){id}}` })),
}

var nestedBodies = []place{
	byLooks("JSON in a string", of(jsonType, func(s string) string { return `{"x":` + quoted(`{"y":"`+s+`"}`) + `}` })),
	byName("JSON in a string in a string", of(jsonType, func(s string) string {
		return `{"x":` + quoted(`{"y":`+quoted(`{"secret":"`+s+`"}`)+`}`) + `}`
	})),
	byName("JSON in base64 in JSON", of(jsonType, func(s string) string { return `{"x":"` + b64(`{"password":"`+s+`"}`) + `"}` })),
	byLooks("base64 in JSON", of(jsonType, func(s string) string { return `{"x":"` + b64(s) + `"}` })),
	byLooks("base64 in base64 in JSON", func(s string) letter {
		text := b64(base64.URLEncoding.EncodeToString([]byte(s)))
		return letter{contentType: jsonType, body: `{"x":"` + text + `"}`, as: []string{text}}
	}),
	byName("a form in JSON", of(jsonType, func(s string) string { return `{"x":"user=ada&password=` + s + `&n=1"}` })),
	byName("percent-encoding in JSON", of(jsonType, func(s string) string {
		return `{"x":"` + url.QueryEscape("https://shop.example/?token="+s) + `"}`
	})),
	byName("a URL in JSON", of(jsonType, func(s string) string { return `{"x":"amqp://u:` + s + `@mq.internal:5672/"}` })),
	byName("XML in JSON", of(jsonType, func(s string) string { return `{"x":` + quoted(`<a><Password>`+s+`</Password></a>`) + `}` })),
	byName("JSON in XML", of("text/xml", func(s string) string { return `<a>{"password":"` + s + `"}</a>` })),
	byName("JSON in a form", of(formType, func(s string) string { return "payload=" + url.QueryEscape(`{"password":"`+s+`"}`) })),
	byName("SQL in JSON", of(jsonType, func(s string) string { return `{"sql":"update u set password = '` + s + `' where id = 1"}` })),
}

var formBodies = []place{
	byName("form by name", of(formType, func(s string) string { return "user=ada&password=" + s })),
	byName("form by a name in brackets", of(formType, func(s string) string { return "user[name]=a&user%5Bpassword%5D=" + s })),
	byName("form, an encoded value", func(s string) letter {
		value := fmt.Sprintf("%%%02x", s[0]) + s[1:]
		return letter{contentType: formType, body: "password=" + value, as: []string{value}}
	}),
	byLooks("form", of(formType, func(s string) string { return "n=1&note=" + url.QueryEscape("x "+s) })),
	byLooks("form, percent-encoded twice", of(formType, func(s string) string { return "n=1&note=" + url.QueryEscape(url.QueryEscape("x "+s)) })),
	byLooks("form, a name", of(formType, func(s string) string { return "n=1&" + url.QueryEscape(s) + "=on" })),
}

const boundary = "b0b"

func part(head, body string) string {
	return "--" + boundary + "\r\n" + head + "\r\n\r\n" + body + "\r\n--" + boundary + "--\r\n"
}

func parts(put func(s string) string) func(s string) letter {
	return of("multipart/form-data; boundary="+boundary, put)
}

const disposition = "Content-Disposition: form-data; "

var multipartBodies = []place{
	byName("part by name", parts(func(s string) string { return part(disposition+`name="password"`, s) })),
	byName("part by a name without quotes", parts(func(s string) string { return part(disposition+`name=password`, s) })),
	byLooks("part", parts(func(s string) string { return part(disposition+`name="note"`, "see "+s) })),
	byLooks("part's name", parts(func(s string) string { return part(disposition+`name="`+s+`"`, "x") })),
	byLooks("part's file name", parts(func(s string) string { return part(disposition+`name="f"; filename="`+s+`.txt"`, "x") })),
	byName("part of JSON", parts(func(s string) string {
		return part(disposition+"name=\"f\"\r\nContent-Type: application/json", `{"password":"`+s+`"}`)
	})),
	byLooks("part of bytes", parts(func(s string) string {
		return part(disposition+"name=\"f\"; filename=\"f\"\r\nContent-Type: application/octet-stream", "\x00\xff\x01 "+s+" \x00")
	})),
	byName("part with a header", parts(func(s string) string { return part(disposition+"name=\"f\"\r\nX-Token: "+s, "x") })),
	byLooks("before the first part", parts(func(s string) string { return "to " + s + "\r\n" + part(disposition+`name="a"`, "x") })),
	byName("part in a part", parts(func(s string) string {
		return part(disposition+"name=\"f\"\r\nContent-Type: multipart/mixed; boundary=in", "--in\r\nContent-Type: application/json\r\n\r\n{\"password\":\""+s+"\"}\r\n--in--\r\n")
	})),
	byLooks("part in base64", func(s string) letter {
		return letter{contentType: "multipart/form-data; boundary=" + boundary,
			body: part(disposition+"name=\"f\"\r\nContent-Transfer-Encoding: base64", b64("mail "+s))}
	}),
	byName("part that is cut off", parts(func(s string) string { return "--" + boundary + "\r\n" + disposition + "name=\"pin\"\r\n\r\n" + s })),
}

const xmlType = "application/xml"

var markupBodies = []place{
	byLooks("XML, an attribute", of(xmlType, func(s string) string { return `<o><c n="` + s + `">x</c></o>` })),
	byName("XML, an attribute by name", of(xmlType, func(s string) string { return `<o><c n="1" password='` + s + `'/></o>` })),
	byName("XML, an element by name", of("text/xml", func(s string) string {
		return `<s:E xmlns:s="x"><s:Password>` + s + `</s:Password></s:E>`
	})),
	byName("XML, an element in one by name", of(xmlType, func(s string) string { return `<a><Password><value>` + s + `</value></Password></a>` })),
	byName("XML, CDATA", of(xmlType, func(s string) string { return `<a><token><![CDATA[` + s + `]]></token></a>` })),
	byLooks("XML, a comment", of(xmlType, func(s string) string { return `<a><!-- for ` + s + ` --></a>` })),
	byLooks("XML, an instruction", of(xmlType, func(s string) string { return `<?x for ` + s + ` ?><a/>` })),
	always(key, byLooks("XML, an element's name", of(xmlType, func(s string) string { return `<a><u.` + s + `>1</u.` + s + `></a>` }))),
	byLooks("XML, a character by number", func(s string) letter {
		text := fmt.Sprintf("&#%d;", s[3]) + s[4:]
		return letter{contentType: xmlType, body: `<a>` + s[:3] + text + `</a>`, as: []string{s[:3] + text}}
	}),
	byLooks("XML, an entity", of(xmlType, func(s string) string { return `<!DOCTYPE a [<!ENTITY e "` + s + `">]><a>&e;</a>` })),
	byName("XML that is cut off", of(xmlType, func(s string) string { return `<a><Password>` + s })),
	byLooks("HTML", of("text/html", func(s string) string { return "<p>Mail " + s + "<br>" })),
	byLooks("HTML, a script", of("text/html", func(s string) string { return "<script>if (a < 1) { b = '" + s + "' }</script>" })),
	byName("HTML, a script by name", of("text/html", func(s string) string { return `<script>window.s = {"csrfToken":"` + s + `"}</script>` })),
	byName("HTML, a field", of("text/html", func(s string) string { return `<form><input type="hidden" name="csrf_token" value="` + s + `"></form>` })),
	byName("HTML, a field the other way round", of("text/html", func(s string) string { return `<input value="` + s + `" name=password>` })),
	byName("HTML, meta", of("text/html", func(s string) string { return `<meta name="csrf-token" content="` + s + `"/>` })),
}

var textBodies = []place{
	byLooks("text", of("text/plain", func(s string) string { return "Dear " + s + ",\nhello" })),
	byName("text by name", of("text/plain", func(s string) string { return "level=info password=" + s + " n=1" })),
	byName("YAML", of("application/yaml", func(s string) string { return "a: 1\nb:\n  client_secret: " + s + "\n" })),
	byName("settings", of("text/plain", func(s string) string { return "[a]\npassword = \"" + s + "\"\n" })),
	byName("a URL in text", of("text/plain", func(s string) string { return "see https://shop.example/a?token=" + s + ".\n" })),
	byName("a header in text", of("text/plain", func(s string) string { return "> GET / HTTP/1.1\n> Authorization: Bearer " + s + "\n" })),
	byName("SQL by name", of("application/sql", func(s string) string { return "update u set password='" + s + "' where id=1" })),
	byName("SQL that makes a user", of("application/sql", func(s string) string { return "create user ada with password '" + s + "'" })),
	byName("SQL of MySQL", of("application/sql", func(s string) string { return "create user 'ada'@'%' identified by '" + s + "'" })),
	byLooks("SQL", of("application/sql", func(s string) string { return "insert into u (mail) values ('" + s + "')" })),
	byLooks("CSV", of("text/csv", func(s string) string { return "id,to\n1," + s + "\n" })),
	byLooks("text in UTF-16", func(s string) letter {
		return letter{contentType: "text/plain; charset=utf-16le", body: utf16le("\ufeffDear " + s + ",")}
	}),
	byName("XML in UTF-16", func(s string) letter {
		return letter{contentType: "text/xml", body: utf16le("\ufeff<?xml version=\"1.0\" encoding=\"UTF-16\"?><a><Password>" + s + "</Password></a>")}
	}),
	byLooks("server-sent events as a request", of("text/event-stream", func(s string) string { return "event: x\ndata: {\"a\":\"" + s + "\"}\n\n" })),
	byName("server-sent event over lines", of("text/event-stream", func(s string) string { return "data: {\ndata: \"secret\":\"" + s + "\"}\n\n" })),
	byLooks("server-sent event's name, id and comment", of("text/event-stream", func(s string) string {
		return "event: " + s + "\nid: " + s + "\n: " + s + "\nretry: 10\ndata: x\n\n"
	})),
}

func utf16le(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// field is a field of protobuf that has a length.
func field(number int, s string) string {
	b := binary.AppendUvarint(nil, uint64(number)<<3|2)
	return string(append(binary.AppendUvarint(b, uint64(len(s))), s...))
}

var binaryBodies = []place{
	byLooks("protobuf", of("application/x-protobuf", func(s string) string { return "\x08\x01" + field(2, field(1, s)) })),
	byLooks("protobuf, JSON in it", of("application/x-protobuf", func(s string) string { return "\x08\x01" + field(2, `{"a":"`+s+`"}`) })),
	byName("protobuf, JSON by name in it", of("application/x-protobuf", func(s string) string { return "\x08\x01" + field(2, `{"password":"`+s+`"}`) })),
	byLooks("protobuf without a type", of("application/octet-stream", func(s string) string { return "\x08\x01" + field(2, field(1, s)) })),
	byLooks("bytes", of("application/octet-stream", func(s string) string { return "\xff\xfe\x00\x01 " + s + " \x00\xff" })),
	byName("bytes by name", of("application/octet-stream", func(s string) string { return "\xff\x00password=" + s + " \x00\xff" })),
	byLooks("MessagePack", of("application/msgpack", func(s string) string { return "\x82\xa1a\x01\xa1b\xd9" + string([]byte{byte(len(s))}) + s })),
	byLooks("a picture", of("image/png", func(s string) string { return "\x89PNG\r\n\x1a\n\x00\x00\x00\rtEXtAuthor\x00" + s + "\x00\x01" })),
}

func pack(coding, text string) string {
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "raw deflate":
		w, _ = flate.NewWriter(&b, 6)
	}
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// packedBodies stand as they are where nothing is opened.
func packedBodies() (all []place) {
	in := func(coding, body string) letter {
		return letter{contentType: jsonType, coding: coding, body: body, as: []string{body}}
	}
	for _, coding := range []string{"gzip", "br", "zstd", "deflate", "raw deflate"} {
		name, _ := strings.CutPrefix(coding, "raw ")
		all = append(all, byLooks(coding, func(s string) letter { return in(name, pack(coding, `{"note":"`+s+`"}`)) }),
			byName(coding+" by name", func(s string) letter { return in(name, pack(coding, `{"password":"`+s+`"}`)) }))
	}
	return append(all,
		byLooks("br in gzip", func(s string) letter { return in("br, gzip", pack("gzip", pack("br", `{"note":"`+s+`"}`))) }),
		byName("gzip of a form", func(s string) letter {
			l := in("gzip", pack("gzip", "a=1&password="+s))
			l.contentType = formType
			return l
		}),
		byLooks("gzip that is cut off", func(s string) letter {
			whole := pack("gzip", `{"note":"`+s+`"}`)
			return in("gzip", whole[:len(whole)-9])
		}),
		byLooks("two members of gzip", func(s string) letter { return in("gzip", pack("gzip", `{"a":1,`)+pack("gzip", `"note":"`+s+`"}`)) }),
		byLooks("a coding that is not known", func(s string) letter { return in("x-shop", "\x01"+s) }),
		byLooks("gzip that is none", func(s string) letter { return in("gzip", `{"note":"`+s+`"}`) }),
		large(byLooks("a bomb", func(s string) letter { return in("gzip", pack("gzip", strings.Repeat(" ", 9<<20)+s)) })),
	)
}

var longBodies = []place{
	byName("long JSON", of(jsonType, func(s string) string {
		return `{"list":[` + strings.Repeat(`{"n":1,"text":"some words"},`, 12_000) + `{"refresh_token":"` + s + `"}]}`
	})),
	byLooks("a long string in JSON", of(jsonType, func(s string) string {
		return `{"a":"` + strings.Repeat("some words ", 12_000) + s + strings.Repeat(" and more", 2000) + `"}`
	})),
	byName("a long secret in JSON", func(s string) letter {
		return letter{contentType: jsonType, body: `{"private_key":"` + strings.Repeat(s, 5000) + `"}`}
	}),
	byLooks("long text", of("text/plain", func(s string) string {
		return strings.Repeat("a line of a long text\n", 20_000) + s + "\n" + strings.Repeat("and on\n", 100)
	})),
	byLooks("a long line", of("text/plain", func(s string) string {
		return strings.Repeat("x", 65_520-4096) + " " + s + " " + strings.Repeat("y", 100)
	})),
	byLooks("long bytes", of("application/octet-stream", func(s string) string { return strings.Repeat("\xff\x00", 200_000) + s + "\x00\xff" })),
	byName("a long form", of(formType, func(s string) string { return "a=" + strings.Repeat("b", 300_000) + "&password=" + s })),
	byName("long XML", of(xmlType, func(s string) string { return "<a>" + strings.Repeat("<b>c</b>", 50_000) + "<pin>" + s + "</pin></a>" })),
	always(email, byLooks("a value at the bound", func(s string) letter {
		return letter{contentType: "text/plain", body: strings.Repeat("a line of a long text", 50_000)[:1<<20-13] + " " + s + "\n", as: []string{s[:11]}}
	})),
	large(byLooks("a form beyond what is parsed", of(formType, func(s string) string { return "n=" + url.QueryEscape(s) + "&a=" + strings.Repeat("b", 9<<20) }))),
	large(byLooks("XML beyond what is parsed", of(xmlType, func(s string) string { return "<a><b>" + s + "</b>" + strings.Repeat("<b>c</b>", 1<<20+1<<17) + "</a>" }))),
}
