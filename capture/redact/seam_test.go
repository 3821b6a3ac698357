package redact

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"tapedeck/events"
)

// pass looks at messages and takes them as a stream does that is written in
// segments of so many.
func pass(t testing.TB, e *Engine, x *events.Exchange, kind string, segment int, texts ...string) (out []string) {
	t.Helper()
	var q Seams
	var all []*events.Message
	for _, text := range texts {
		all = append(all, &events.Message{Side: events.Side_RESPONSE, Type: kind, Data: []byte(text), Size: int64(len(text))})
	}
	taken := 0
	take := func(to int) {
		for _, m := range all[taken:to] {
			q.Take(m)
			data, _ := e.Message(x, m)
			out = append(out, string(data))
		}
		taken = to
	}
	for i, m := range all { // a segment is written when the next one is there
		if !q.Add(e, x, m) {
			t.Fatalf("%q: it panicked: %s", texts, *e.failures.stack.Load())
		}
		if i+1 >= 2*segment && (i+1)%segment == 0 {
			take(i + 1 - segment)
		}
	}
	take(len(all))
	return out
}

var (
	socketOf = &events.Exchange{Request: &events.Request{}, Response: &events.Response{Status: "101"}}
	sourceOf = &events.Exchange{Request: &events.Request{}, Response: &events.Response{Headers: []*events.Field{{Name: []byte("Content-Type"), Value: []byte("text/event-stream")}}}}
)

func chat(text string) string { return `{"choices":[{"index":0,"delta":{"content":"` + text + `"}}]}` }

func protoText(number byte, text string) string {
	return string([]byte{number<<3 | 2, byte(len(text))}) + text
}

func TestSeams(t *testing.T) {
	key := ThrowawayKey()
	e := New(key)
	card := string(key.card([]byte("4111 1111 1111 1111")))
	mail := string(key.email([]byte("ada.love@example.com")))
	token := string(key.Token([]byte("hunter2")))
	half := func(c Class, value string, n int) string { return string(key.half(c, []byte(value), n)) }
	call := exchangeOf("application/grpc", "")
	for _, test := range []struct {
		name     string
		x        *events.Exchange
		kind     string
		in, want []string
	}{
		{"card", socketOf, "text", []string{"pay 4111 1111 ", "1111 1111 now"}, []string{"pay " + card[:10], card[10:] + " now"}},
		{"card in many pieces", socketOf, "text", []string{"pay 41", "11 1", "111 11", "11 11", "11."}, []string{"pay " + card[:2], card[2:6], card[6:12], card[12:17], card[17:] + "."}},
		{"e-mail", socketOf, "text", []string{"to ada.lo", "ve@exam", "ple.com, bye"}, []string{"to " + mail, "", ", bye"}},
		{"e-mail whose end alone looks like one", socketOf, "text", []string{"to ada.", "love@example.com"}, []string{"to xxxx", string(key.email([]byte("love@example.com")))}},
		{"two e-mails", socketOf, "text", []string{"ada.love@example.com", "ada.love@example.com"}, []string{mail, mail}},
		{"name and value", socketOf, "text", []string{"login password=", "hunter2 now"}, []string{"login password=", token + " now"}},
		{"name in pieces", socketOf, "text", []string{"login pass", "word=hunter2 now"}, []string{"login pass", "word=" + token + " now"}},
		{"JSON, a value", socketOf, "text", []string{`{"a":1,"password":"hun`, `ter2","b":2}`}, []string{`{"a":1,"password":"` + token, `","b":2}`}},
		{"JSON, between name and value", socketOf, "text", []string{`{"a":1,"password"`, ` : `, `"hunter2"}`}, []string{`{"a":1,"password"`, ` : `, `"` + token + `"}`}},
		{"JSON, the name", socketOf, "text", []string{`{"a":1,"pass`, `word":"hunter2"}`}, []string{`{"a":1,"pass`, `word":"` + token + `"}`}},
		{"JSON, a person's name", socketOf, "text", []string{`{"first_name":"Augusta `, `Ada"}`}, []string{`{"first_name":"` + string(key.token(Name, []byte("Augusta Ada"))), `"}`}},
		{"JSON, a number", socketOf, "text", []string{`{"cvv":1`, `23}`}, []string{`{"cvv":9`, `99}`}},
		{"JSON in bytes", socketOf, "binary", []string{`{"a":1,"password":"hun`, `ter2","b":2}`}, []string{`{"a":1,"password":"` + token, `","b":2}`}},
		{"texts of JSON", socketOf, "text", []string{chat("4111 1111"), chat(" 1111"), chat(" 1111 ok")}, []string{chat(card[:9]), chat(card[9:14]), chat(card[14:] + " ok")}},
		{"texts of JSON, an e-mail", socketOf, "text", []string{chat("ada.love"), chat("@example"), chat(".com"), chat(" ok")}, []string{chat(mail), chat(""), chat(""), chat(" ok")}},
		{"texts of JSON that are whole", socketOf, "text", []string{chat("ada.love@example.com"), chat("ok"), chat("ada.love@example.com")}, []string{chat(mail), chat("ok"), chat(mail)}},
		{"a ping between", socketOf, "text", []string{"4111 1111 1111", " 1111"}, []string{card[:14], card[14:]}},
		{"bytes", socketOf, "binary", []string{"\x00\xff ada.lo", "ve@example.com \xfe"}, []string{"\x00\xff " + half(Email, "ada.love@example.com", 6), half(Email, "ada.love@example.com", 14) + " \xfe"}},
		{"events", sourceOf, "message", []string{"data: to ada.love@exam\n\n", "id: 7\ndata: ple.com, bye\n\n"}, []string{"data: to " + mail + "\n\n", "id: 7\ndata: , bye\n\n"}},
		{"events of JSON", sourceOf, "message", []string{"data: " + chat("4111 1111") + "\n\n", "data: " + chat(" 1111 1111") + "\n\n", "data: [DONE]\n\n"}, []string{"data: " + chat(card[:9]) + "\n\n", "data: " + chat(card[9:]) + "\n\n", "data: [DONE]\n\n"}},
		{"JSON over events", sourceOf, "message", []string{"data: {\"password\":\n\n", "data: \"hunter2\"}\n\n"}, []string{"data: {\"password\":\n\n", "data: \"" + token + "\"}\n\n"}},
		{"fields of gRPC", call, "message", []string{protoText(2, "4111 1111"), protoText(2, " 1111 1111")}, []string{protoText(2, card[:9]), protoText(2, card[9:])}},
		{"fields of gRPC, a key", call, "message", []string{protoText(2, "use AKIAABCDEF"), protoText(2, "GHIJKLMNOP")},
			[]string{protoText(2, "use "+half(Credential, "AKIAABCDEFGHIJKLMNOP", 10)), protoText(2, half(Credential, "AKIAABCDEFGHIJKLMNOP", 10))}},
		{"other fields of gRPC", call, "message", []string{protoText(2, "4111 1111"), protoText(3, " 1111 1111")}, []string{protoText(2, "4111 1111"), protoText(3, " 1111 1111")}},
		{"nothing", socketOf, "text", []string{"hello", "wor", "ld 12", "34"}, []string{"hello", "wor", "ld 12", "34"}},
	} {
		got := pass(t, e, test.x, test.kind, 100, test.in...)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got\n%q, want\n%q", test.name, got, test.want)
		}
		if again := pass(t, e, test.x, test.kind, 100, got...); !slices.Equal(again, got) && test.name != "JSON, a number" {
			t.Errorf("%s twice: got\n%q, want\n%q", test.name, again, got)
		}
	}
}

// What was written can't be called back: the rest of the value is replaced.
func TestSeamsBehindWhatIsWritten(t *testing.T) {
	e := New(ThrowawayKey())
	var q Seams
	say := func(text string) *events.Message {
		m := &events.Message{Side: events.Side_RESPONSE, Type: "text", Data: []byte(text), Size: int64(len(text))}
		q.Add(e, socketOf, m)
		return m
	}
	q.Take(say("to ada.lovelace"))
	m := say("@example.com now")
	marks := q.Take(m)
	if got := string(m.Data); strings.Contains(got, "example") || !strings.HasSuffix(got, " now") || m.Size != int64(len(got)) || len(marks) != 1 {
		t.Errorf("got %q, marks %v", got, marks)
	}
}

// Of values over each other both are replaced, the later one as far as it is
// not within the other.
func TestEditsOverEachOther(t *testing.T) {
	var h seamed
	for _, e := range []edit{{2, 4, []byte("abc")}, {6, 9, []byte("def")}, {3, 7, []byte("ghij")}, {8, 12, []byte("klmn")}, {0, 2, []byte("-")}, {2, 5, []byte("op")}} {
		h.set(e)
	}
	if got := string(splice([]byte("0123456789ABCDEF"), h.edits, 0)); got != "-xxxxdefxxxCDEF" {
		t.Errorf("got %q", got)
	}
}

// A stream is looked at with bounded memory.
func TestSeamsHoldLittle(t *testing.T) {
	e := New(ThrowawayKey())
	var q Seams
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		text := make([]byte, r.IntN(200))
		for i := range text {
			text[i] = "ab1 @.:\"{}[],="[r.IntN(14)]
		}
		m := &events.Message{Side: events.Side_REQUEST, Type: []string{"text", "binary"}[r.IntN(2)], Data: text, Size: int64(len(text))}
		if !q.Add(e, socketOf, m) {
			t.Fatalf("%q: it panicked: %s", text, *e.failures.stack.Load())
		}
		q.Take(m)
	}
	held, pieces := 0, 0
	for _, l := range q.lanes {
		held += cap(l.text)
		pieces += len(l.pieces)
	}
	if len(q.held) > 0 || len(q.lanes) > maxLanes || held > maxLanes*8*overlap || pieces > maxLanes*overlap {
		t.Errorf("%d messages, %d lanes, %d bytes, %d pieces", len(q.held), len(q.lanes), held, pieces)
	}
}

// FuzzSeams: whatever the messages of a stream are and however they are
// written, each stays one, those of bytes keep their length, it grows by no
// more than a token for each value, and a second pass changes nothing.
func FuzzSeams(f *testing.F) {
	for i, k := range lawKinds {
		f.Add([]byte(k.body), uint8(i), uint16(3))
	}
	f.Add([]byte("0000@00.0A00AA0000A0000AA"), uint8(0), uint16(3))
	f.Add([]byte("00000pAssword\": 00"), uint8(0), uint16(10))
	f.Add([]byte("pay 4111 1111 1111 1111 now, ada.love@example.com, password=hunter2"), uint8(0), uint16(9))
	f.Add([]byte(`{"a":1,"password":"hunter2","cvv":"123"}`), uint8(0), uint16(7))
	e := New(testKey(f))
	kinds := []struct {
		x    *events.Exchange
		kind string
	}{{socketOf, "text"}, {socketOf, "binary"}, {sourceOf, "message"}, {exchangeOf("application/grpc", ""), "message"}}
	f.Fuzz(func(t *testing.T, in []byte, n uint8, size uint16) {
		k := kinds[int(n)%len(kinds)]
		piece := max(1, int(size)%64)
		var texts []string
		for rest := in; len(rest) > 0 && len(texts) < 64; {
			to := min(piece, len(rest))
			text := string(rest[:to])
			switch k.x {
			case sourceOf:
				text = "data: " + strings.NewReplacer("\n", " ", "\r", " ").Replace(text) + "\n\n"
			case socketOf:
			default:
				text = protoText(1, text)
			}
			texts, rest = append(texts, text), rest[to:]
		}
		once := seamsOnly(t, e, k.x, k.kind, 1+int(n)%5, texts)
		grown := 0
		for i, out := range once {
			grown += len(out) - len(texts[i])
			if k.kind != "text" && k.x != sourceOf && (k.x != socketOf || !isText([]byte(texts[i]))) && len(out) != len(texts[i]) {
				t.Errorf("%q: %q became %q", texts, texts[i], out)
			}
		}
		if grown > 16*len(in)+1024 {
			t.Errorf("%q grew by %d bytes: %q", texts, grown, once)
		}
		if bytes.ContainsAny(in, "{[") || k.kind == "binary" || !settles(e, in) {
			return // what is JSON, or a text, may be another thing when a piece of it was replaced
		}
		once = seamsOnly(t, e, k.x, k.kind, len(texts), texts) // nothing is out before all of it was seen
		if twice := seamsOnly(t, e, k.x, k.kind, len(texts), once); !slices.Equal(twice, once) {
			t.Errorf("%q: once %q, twice %q", texts, once, twice)
		}
	})
}

// settles says that a second pass leaves a text alone. What has groups of digits
// may be several numbers, of which the one that ends first was replaced: with
// its token another may come first.
func settles(e *Engine, in []byte) bool {
	digits := 0
	for _, c := range in {
		if isDigit(c) {
			digits++
		}
	}
	s := scope{view: e.plain}
	once, _, _ := s.find(in)
	twice, _, _ := s.find(once)
	return digits < 8 && bytes.Equal(once, twice)
}

// seamsOnly is pass without what each message shows by itself.
func seamsOnly(t testing.TB, e *Engine, x *events.Exchange, kind string, segment int, texts []string) (out []string) {
	var q Seams
	var all []*events.Message
	for i, text := range texts {
		m := &events.Message{Side: events.Side_RESPONSE, Type: kind, Data: []byte(text), Size: int64(len(text))}
		all = append(all, m)
		if !q.Add(e, x, m) {
			t.Fatalf("%q: it panicked: %s", texts, *e.failures.stack.Load())
		}
		if i >= segment {
			q.Take(all[i-segment])
		}
	}
	for _, m := range all {
		q.Take(m)
		if m.Size != int64(len(m.Data)) {
			t.Fatalf("%q: size %d of %q", texts, m.Size, m.Data)
		}
		out = append(out, string(m.Data))
	}
	return out
}

// BenchmarkStream redacts messages of a stream, alone and together with what
// is looked for over their borders.
func BenchmarkStream(b *testing.B) {
	word := chat("hello")
	order := `{"event":"order","data":{"items":[` + strings.Repeat(`{"sku":"A-1","title":"a thing of wood","note":"ships on Monday"},`, 25) + `{}]}}`
	for _, test := range []struct{ name, text string }{{"word", word}, {"order", order}, {"text", "hello there, this is a line of some chat"}} {
		for _, across := range []bool{false, true} {
			b.Run(test.name+map[bool]string{true: "/across"}[across], func(b *testing.B) {
				e := New(testKey(b))
				var q Seams
				b.SetBytes(int64(len(test.text)))
				for b.Loop() {
					m := &events.Message{Side: events.Side_RESPONSE, Type: "text", Data: []byte(test.text), Size: int64(len(test.text))}
					if across {
						q.Add(e, socketOf, m)
						q.Take(m)
					}
					e.Message(socketOf, m)
				}
			})
		}
	}
}
