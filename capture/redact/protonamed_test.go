package redact

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"

	"tapedeck/events"
)

// accountFile is a message with fields of all kinds.
const accountFile = `{"name": "account.proto", "package": "shop", "syntax": "proto3", "dependency": ["google/protobuf/struct.proto", "google/protobuf/wrappers.proto"],
 "enumType": [{"name": "Pin", "value": [{"name": "NONE", "number": 0}, {"name": "SET", "number": 1}]}],
 "messageType": [{"name": "Account",
  "nestedType": [{"name": "LabelsEntry", "options": {"mapEntry": true}, "field": [
    {"name": "key", "number": 1, "type": "TYPE_STRING", "label": "LABEL_OPTIONAL"},
    {"name": "value", "number": 2, "type": "TYPE_STRING", "label": "LABEL_OPTIONAL"}]}],
  "oneofDecl": [{"name": "proof"}],
  "field": [
   {"name": "password", "number": 1, "type": "TYPE_STRING", "label": "LABEL_OPTIONAL"},
   {"name": "note", "number": 2, "type": "TYPE_STRING", "label": "LABEL_OPTIONAL"},
   {"name": "owner", "number": 3, "type": "TYPE_MESSAGE", "typeName": ".shop.Account", "label": "LABEL_OPTIONAL"},
   {"name": "tokens", "number": 4, "type": "TYPE_STRING", "label": "LABEL_REPEATED"},
   {"name": "labels", "number": 5, "type": "TYPE_MESSAGE", "typeName": ".shop.Account.LabelsEntry", "label": "LABEL_REPEATED"},
   {"name": "otp", "number": 6, "type": "TYPE_INT32", "label": "LABEL_OPTIONAL", "oneofIndex": 0},
   {"name": "secret", "number": 7, "type": "TYPE_BYTES", "label": "LABEL_OPTIONAL", "oneofIndex": 0},
   {"name": "account_number", "number": 8, "type": "TYPE_UINT64", "label": "LABEL_OPTIONAL"},
   {"name": "cvv", "number": 9, "type": "TYPE_SINT32", "label": "LABEL_OPTIONAL"},
   {"name": "pin", "number": 10, "type": "TYPE_ENUM", "typeName": ".shop.Pin", "label": "LABEL_OPTIONAL"},
   {"name": "api_key", "number": 11, "type": "TYPE_BOOL", "label": "LABEL_OPTIONAL"},
   {"name": "phone", "number": 12, "type": "TYPE_FIXED64", "label": "LABEL_OPTIONAL"},
   {"name": "zip", "number": 13, "type": "TYPE_SFIXED32", "label": "LABEL_REPEATED"},
   {"name": "tax_id", "number": 14, "type": "TYPE_DOUBLE", "label": "LABEL_OPTIONAL"},
   {"name": "extra", "number": 15, "type": "TYPE_MESSAGE", "typeName": ".google.protobuf.Struct", "label": "LABEL_OPTIONAL"},
   {"name": "passphrase", "number": 16, "type": "TYPE_MESSAGE", "typeName": ".google.protobuf.StringValue", "label": "LABEL_OPTIONAL"},
   {"name": "amount", "number": 17, "type": "TYPE_INT64", "label": "LABEL_OPTIONAL"},
   {"name": "session_id", "number": 18, "type": "TYPE_FLOAT", "label": "LABEL_OPTIONAL"}]}]}`

func accountKind(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	file := &descriptorpb.FileDescriptorProto{}
	if err := protojson.Unmarshal([]byte(accountFile), file); err != nil {
		t.Fatal(err)
	}
	d, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return d.Messages().ByName("Account")
}

func onlyAccounts(kind protoreflect.MessageDescriptor) Schemas {
	return func(path string, request bool) protoreflect.MessageDescriptor {
		if path == "/shop.Accounts/Open" && request {
			return kind
		}
		return nil
	}
}

func opening() *events.Exchange {
	x := exchangeOf("application/grpc+proto", "")
	x.Request.Target = "/shop.Accounts/Open"
	return x
}

// redactAccount makes a message of JSON, redacts it, and makes JSON of it.
func redactAccount(t *testing.T, e *Engine, x *events.Exchange, in string) (out string, wire []byte, marks []Mark) {
	t.Helper()
	m := dynamicpb.NewMessage(accountKind(t))
	if err := protojson.Unmarshal([]byte(in), m); err != nil {
		t.Fatal(err)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	wire, marks = e.Message(x, &events.Message{Side: events.Side_REQUEST, Type: "message", Data: b, Size: int64(len(b))})
	again := dynamicpb.NewMessage(accountKind(t))
	if err := proto.Unmarshal(wire, again); err != nil {
		t.Fatalf("%s: what is left can't be read: %v", in, err)
	}
	text, err := protojson.Marshal(again)
	if err != nil || len(again.GetUnknown()) > 0 {
		t.Fatalf("%s: %v, unknown %x", in, err, again.GetUnknown())
	}
	return string(text), wire, marks
}

func TestFieldsByName(t *testing.T) {
	key := ThrowawayKey()
	e := New(key).WithSchemas(onlyAccounts(accountKind(t)))
	token := string(key.Token([]byte("s3")))
	number := func(c Class, value string) string { return string(key.number(treatment{c, Token}, []byte(value))) }
	for _, test := range []struct{ name, in, want, place string }{
		{"text", `{"password":"s3","note":"hi"}`, `{"password":"` + token + `","note":"hi"}`, "password"},
		{"in a message", `{"owner":{"owner":{"password":"s3"}}}`, `{"owner":{"owner":{"password":"` + token + `"}}}`, "owner.owner.password"},
		{"repeated, no name of one", `{"tokens":["s3","s4"]}`, `{"tokens":["s3","s4"]}`, ""},
		{"a map", `{"labels":{"password":"s3","color":"red"}}`, `{"labels":{"password":"` + token + `","color":"red"}}`, "labels.password.value"},
		{"a number of one of", `{"otp":47114711}`, `{"otp":` + number(Credential, "47114711") + `}`, "otp"},
		{"bytes of one of", `{"secret":"czM="}`, `{"secret":"` + b64Of(token) + `"}`, "secret"},
		{"a long number", `{"accountNumber":"47114711471147"}`, `{"accountNumber":"` + number(IBAN, "47114711471147") + `"}`, "account_number"},
		{"a check number", `{"cvv":123}`, `{"cvv":999}`, "cvv"},
		{"an enum and a boolean", `{"pin":"SET","apiKey":true}`, `{"pin":"SET","apiKey":true}`, ""},
		{"packed numbers", `{"zip":[10115,20095]}`, `{"zip":[` + number(Address, "10115") + `,` + number(Address, "20095") + `]}`, "zip"},
		{"a float", `{"taxId":471147.5}`, `{"taxId":` + number(SSN, "471147.5") + `}`, "tax_id"},
		{"Struct", `{"extra":{"user":{"password":"s3","age":7}}}`, `{"extra":{"user":{"password":"` + token + `","age":7}}}`, "extra.fields.user.value.struct_value.fields.password.value.string_value"},
		{"a wrapped text", `{"passphrase":"s3"}`, `{"passphrase":"` + token + `"}`, "passphrase.value"},
		{"by its looks", `{"note":"to ada@example.com"}`, `{"note":"to ` + string(key.email([]byte("ada@example.com"))) + `"}`, "note"},
		{"JSON in a text", `{"note":"{\"password\":\"s3\"}"}`, `{"note":"{\"password\":\"` + token + `\"}"}`, "note"},
		{"a card as a number", `{"amount":"4242424242424242"}`, `{"amount":"` + string(key.card([]byte("4242424242424242"))) + `"}`, "amount"},
		{"nothing", `{"note":"hi","amount":"12"}`, `{"note":"hi","amount":"12"}`, ""},
	} {
		x := opening()
		got, wire, marks := redactAccount(t, e, x, test.in)
		if !sameJSON(got, test.want) {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
		if places := placesOf(&Body{marks: markList(marks)}); places != test.place {
			t.Errorf("%s: marks %q, want %q", test.name, places, test.place)
		}
		for _, m := range marks {
			Add(x, Mark{"request.message." + m.Place, m.Class, m.Action})
		}
		again, _ := e.Message(x, &events.Message{Side: events.Side_REQUEST, Type: "message", Data: wire, Size: int64(len(wire))})
		if string(again) != string(wire) {
			t.Errorf("%s twice: got %q, want %q", test.name, again, wire)
		}
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return string(p) == string(q)
}

func b64Of(s string) string {
	b, _ := json.Marshal([]byte(s))
	return strings.Trim(string(b), `"`)
}

// Numbers that are as long as their kinds allow stay within them.
func TestLongNumbersFit(t *testing.T) {
	e := New(ThrowawayKey()).WithSchemas(onlyAccounts(accountKind(t)))
	for _, in := range []string{`{"otp":2147483647}`, `{"otp":-2147483648}`, `{"accountNumber":"18446744073709551615"}`, `{"phone":"18446744073709551615"}`,
		`{"zip":[2147483647,-2147483648]}`, `{"cvv":-2147483648}`, `{"sessionId":3.4e38}`, `{"sessionId":"NaN"}`, `{"taxId":"Infinity"}`} {
		got, _, marks := redactAccount(t, e, opening(), in)
		if finite := !strings.Contains(in, "N") && !strings.Contains(in, "I"); finite && (sameJSON(got, in) || len(marks) != 1) {
			t.Errorf("%s stays %s, marks %v", in, got, marks)
		}
	}
	for _, n := range []number{{size: 32, signed: true}, {size: 64, signed: true}, {size: 64}, {size: 32, signed: true, zigzag: true}, {size: 64, float: true}} {
		if text := n.text(); string(text) != "0" {
			t.Errorf("%+v: %s", n, text)
		}
	}
	if n := (number{bits: math.Float64bits(1e300), size: 64, float: true}); len(n.text()) != 301 {
		t.Errorf("%s", n.text())
	}
}

// Rules name fields by keys and paths, in names and in numbers.
func TestRulesForFields(t *testing.T) {
	rules := &Rules{}
	for _, r := range []Rule{
		{Path: regexp.MustCompile(`^owner\.note$`), at: inGRPC, class: Custom, action: Drop},
		{Path: regexp.MustCompile(`^17$`), at: inGRPC, class: Custom, action: Mask},
		{Key: regexp.MustCompile(`(?i)^(?:tokens)$`), at: inGRPC, class: Custom, action: Mask},
		{Key: regexp.MustCompile(`(?i)^(?:password)$`), at: inGRPC, class: Custom, action: Keep},
	} {
		rules.add(r)
	}
	e := NewWith(ThrowawayKey(), rules, nil).WithSchemas(onlyAccounts(accountKind(t)))
	got, _, _ := redactAccount(t, e, opening(), `{"note":"hi","owner":{"note":"secret"},"amount":"47","tokens":["ab","c1"],"password":"s3"}`)
	if want := `{"note":"hi","owner":{"note":""},"amount":"99","tokens":["**","*9"],"password":"s3"}`; !sameJSON(got, strings.Replace(want, `"note":""`, "", 1)) && !sameJSON(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Of a message that was cut off nothing stays of the field that it ends in, if
// its name says what it is; what is no message is looked through as bytes.
func TestFieldsThatAreCutOff(t *testing.T) {
	e := New(ThrowawayKey()).WithSchemas(onlyAccounts(accountKind(t)))
	for _, in := range []string{"\x12\x02hi\x0a\x20hunter2", "\x12\x02hi\x1a\x20\x0a\x1ehunter2", "hunter2@example.com", "\x0a\x07hunter2\x12\x40hi"} {
		got, _ := e.Message(opening(), &events.Message{Side: events.Side_REQUEST, Type: "message", Data: []byte(in), Size: 100})
		if strings.Contains(string(got), "hunter2") {
			t.Errorf("%q became %q", in, got)
		}
	}
}

// readable reads a message with its descriptor. dynamicpb panics at a key of a
// map that is of another wire type.
func readable(kind protoreflect.MessageDescriptor, b []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read message: %v", p)
		}
	}()
	return proto.Unmarshal(b, dynamicpb.NewMessage(kind))
}

// FuzzFieldsByName: whatever a message is it stays one, and a second pass that
// knows the marks of the first changes nothing.
func FuzzFieldsByName(f *testing.F) {
	f.Add([]byte("\x0a\x02s3\x12\x02hi\x1a\x04\x0a\x02s3\x6a\x04\x01\x00\x00\x00\x30\x07"))
	f.Add([]byte("\x2a\x0e\x0a\x08password\x12\x02s3\x7a\x08\x0a\x06\x0a\x01a\x12\x01\x20\x3b\x3c"))
	kind := accountKind(f)
	e := New(testKey(f)).WithSchemas(onlyAccounts(kind))
	f.Fuzz(func(t *testing.T, in []byte) {
		x := opening()
		m := func(b []byte) *events.Message {
			return &events.Message{Side: events.Side_REQUEST, Type: "message", Data: b, Size: int64(len(b))}
		}
		once, marks := e.Message(x, m(in))
		if n := e.failures.panics.Load(); n > 0 {
			t.Fatalf("%q: it panicked: %s", in, *e.failures.stack.Load())
		}
		if len(once) > 16*len(in)+1024 {
			t.Errorf("%d bytes became %d", len(in), len(once))
		}
		if readable(kind, in) != nil || len(marks) == MaxMarks {
			return
		}
		if err := readable(kind, once); err != nil {
			t.Errorf("%q became %q: %v", in, once, err)
		}
		for _, mark := range marks {
			Add(x, Mark{"request.message." + mark.Place, mark.Class, mark.Action})
		}
		again, _ := e.Message(x, m(once))
		if string(again) != string(once) && !holdsNumbers(e, x, in) {
			t.Errorf("%q: once %q, twice %q", in, once, again)
		}
	})
}
