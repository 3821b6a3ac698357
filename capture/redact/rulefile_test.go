package redact

import (
	"strings"
	"testing"

	"tapedeck/events"
	"tapedeck/wire"
)

const someRules = `
packs:
  personal: off
unknown:
  - selector: '{host="files.example"}'
    body: strict
rules:
  - name: customer numbers
    value: 'CUST-[0-9]+'
  - name: salary
    key: 'salary|wage_.*'
    in: [json]
    action: mask
  - name: owner
    path: $.items[*].owner
    action: drop
  - name: ids of the shop alone
    selector: '{service="shop" && path=~"/orders/.*"}'
    key: order_no
    class: custom
  - name: sessions are no secret here
    key: sid
    action: keep
  - name: size of cards
    detector: card
    action: hash-length
  - name: field
    in: [grpc]
    path: "1.2"
`

func rulesEngine(t *testing.T, service string) *Engine {
	t.Helper()
	rules, err := ParseRules([]byte(someRules))
	if err != nil {
		t.Fatal(err)
	}
	return NewWith(testKey(t), rules, &events.Workload{Service: service})
}

func TestRules(t *testing.T) {
	k := testKey(t)
	for service, orderNo := range map[string]string{"shop": string(k.token(Custom, []byte("A17"))), "other": "A17"} {
		e := rulesEngine(t, service)
		x := jsonExchange()
		x.Request.Target = "/orders/17"
		in := `{"note":"for CUST-42","salary":"4200 EUR","items":[{"owner":"ada"},{"owner":"bob"}],"order_no":"A17","sid":"s1","email":"a@b.example","card":"4242424242424242"}`
		b := e.Body(x, events.Side_REQUEST, []byte(in))
		out := string(b.Close(b.Write(nil, []byte(in))))
		want := `{"note":"for ` + string(k.token(Custom, []byte("CUST-42"))) + `","salary":"9999 ***","items":[{"owner":""},{"owner":""}],"order_no":"` + orderNo +
			`","sid":"s1","email":"a@b.example","card":"[16 bytes ` + string(k.token(Card, []byte("4242424242424242"))) + `]"}`
		if out != want {
			t.Errorf("%s:\ngot  %s\nwant %s", service, out, want)
		}
	}
}

func TestRuleOfAField(t *testing.T) {
	e := rulesEngine(t, "shop")
	message := "\x0a\x07\x12\x03abc\x18\x01"
	out, _ := redactBody(t, e, "application/x-protobuf", message, nil)
	if strings.Contains(string(out), "abc") || !isMessage(out) || wire.TokenClass(string(out[4:len(out)-2])) == "" {
		t.Errorf("got %q", out)
	}
}

func TestUnknownBodies(t *testing.T) {
	e := rulesEngine(t, "shop")
	x := exchangeOf("application/octet-stream", "")
	x.Request.Host = "files.example"
	b := e.Body(x, events.Side_REQUEST, []byte("\xff\xfe"))
	if out := b.Close(b.Write(nil, []byte("\xff\xfe"))); !b.Failed() || len(out) > 0 {
		t.Errorf("strict kept %q", out)
	}
}

func TestBadRules(t *testing.T) {
	for text, want := range map[string]string{
		"rulez: []":                                "rulez",
		"packs: {medical: on}":                     "medical",
		"packs: {payment: maybe}":                  "on or off",
		"unknown: [{body: burn}]":                  "scan, strict or keep",
		"rules: [{key: a, in: [letter]}]":          "letter",
		"rules: [{key: '('}]":                      "missing closing",
		"rules: [{key: a, value: b}]":              "needs one",
		"rules: [{name: x}]":                       "needs one",
		"rules: [{detector: shoe}]":                "shoe",
		"rules: [{key: a, action: shred}]":         "shred",
		"rules: [{key: a, selector: '{nope=1}'}]":  "nope",
		"rules: [{key: a, class: shoe}]":           "shoe",
		"rules: " + strings.Repeat("[", 100) + "]": "",
	} {
		if _, err := ParseRules([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error about %q", text, err, want)
		}
	}
	if _, err := ParseRules(nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

func TestErrorsOfYAMLSpeakOfTheFile(t *testing.T) {
	_, err := ParseRules([]byte("rules:\n  - {ky: plan}\n"))
	if err == nil || err.Error() != "line 2: field ky not found" {
		t.Errorf("got %v", err)
	}
}
