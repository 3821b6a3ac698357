package redact

import (
	"testing"

	"tapedeck/events"
)

func TestMessages(t *testing.T) {
	key := ThrowawayKey()
	e := New(key)
	token := string(key.Token([]byte("abc")))
	socket := &events.Exchange{Response: &events.Response{Status: "101"}}
	source := &events.Exchange{Response: &events.Response{Headers: []*events.Field{{Name: []byte("Content-Type"), Value: []byte("text/event-stream")}}}}
	for _, test := range []struct {
		x                      *events.Exchange
		kind, data, want, mark string
	}{
		{socket, "text", `{"token":"abc","n":1}`, `{"token":"` + token + `","n":1}`, "$.token"},
		{socket, "text", `42["login",{"token":"abc"}]`, `42["login",{"token":"` + token + `"}]`, "$[1].token"},
		{socket, "text", `token: "abc"`, `token: "` + token + `"`, "$"},
		{socket, "text", `{"token":"abc`, `{"token":"` + token, "$.token"}, // cut off
		{socket, "binary", ` {"token":"abc"}`, ` {"token":"` + token + `"}`, "$.token"},
		{socket, "binary", "\x00{\"token\":\"abc\"}", "\x00{\"token\":\"" + token + "\"}", ""},
		{socket, "text", "", "", ""},
		{source, "message", "event: token\r\ndata: {\"token\":\r\ndata:\"abc\"}\r\n\r\n", "event: token\r\ndata: {\"token\":\r\ndata:\"" + token + "\"}\r\n\r\n", "$.token"},
		{source, "message", "data: {\rid: \"token\":\"x\"\rdata: \"token\":\"abc\"}\r\r", "data: {\rid: \"token\":\"" + string(key.Token([]byte("x"))) + "\"\rdata: \"token\":\"" + token + "\"}\r\r", "$. $.token"},
		{source, "message", "\ufeffdata: {\"token\":\"abc\"}", "\ufeffdata: {\"token\":\"" + token + "\"}", "$.token"},
		{source, "message", "data\n\n", "data\n\n", ""},
	} {
		data, marks := e.Message(test.x, &events.Message{Side: events.Side_RESPONSE, Type: test.kind, Data: []byte(test.data)})
		if string(data) != test.want || placesOf(&Body{marks: markList(marks)}) != test.mark {
			t.Errorf("%s %q: got %q, marks %q, want %q, %q", test.kind, test.data, data, marks, test.want, test.mark)
		}
		again, _ := e.Message(test.x, &events.Message{Side: events.Side_RESPONSE, Type: test.kind, Data: data})
		if string(again) != string(data) {
			t.Errorf("redacted twice: %q", again)
		}
	}
	var off *Engine
	if data, _ := off.Message(socket, &events.Message{Type: "text", Data: []byte(`{"token":"abc"}`)}); string(data) != `{"token":"abc"}` {
		t.Errorf("redaction that is off: %q", data)
	}
}

func markList(list []Mark) marks { return marks{list: list} }
