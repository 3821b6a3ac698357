package scenario

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

func TestXMLLeaves(t *testing.T) {
	got, err := xmlLeaves("response.body", []byte(`<?xml version="1.0" encoding="UTF-8"?>
<!-- a list --><List xmlns="urn:x" xmlns:y="urn:y" lang="en">
  <Name>a &amp; b</Name>
  <Item id="1"><Key>k1</Key></Item><Item><Key/></Item>
  <y:Item><Key>k3</Key></y:Item> tail
</List>`))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, l := range got {
		lines = append(lines, l.place+" "+l.key+" "+l.value)
	}
	want := []string{
		"response.body.$.List.@lang lang en",
		"response.body.$.List.Name Name a & b",
		"response.body.$.List.Item.@id id 1",
		"response.body.$.List.Item.Key Key k1",
		"response.body.$.List.Item[1].Key Key ",
		"response.body.$.List.Item[2].Key Key k3",
		"response.body.$.List.#text List tail",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("leaves (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "<a>", "<a></b>", "<a/><b/>", "text", "<a>&x;</a>", strings.Repeat("<a>", maxXMLDepth+1) + strings.Repeat("</a>", maxXMLDepth+1)} {
		if found, err := xmlLeaves("response.body", []byte(bad)); err == nil {
			t.Errorf("%.30q was read as %v", bad, found)
		}
	}
}

// An error of S3: what is made anew may differ where an assertion or its looks
// say so, everything else is compared.
func TestCompareXML(t *testing.T) {
	answer := func(code, request string) *events.Exchange {
		return &events.Exchange{Response: &events.Response{Status: "404",
			Headers: []*events.Field{{Name: []byte("Content-Type"), Value: []byte("application/xml")}},
			Body:    &events.Body{Data: []byte("<Error><Code>" + code + "</Code><RequestId>" + request + "</RequestId></Error>")}}}
	}
	rules := Rules{Assertions: []events.Assertion{{Place: "response.body.$.Error.RequestId", Rule: RuleExists}}}
	if diffs := Compare(answer("NoSuchKey", "AAAA"), answer("NoSuchKey", "BBBB"), rules); len(diffs) != 0 {
		t.Errorf("got %v, want no difference", diffs)
	}
	want := []events.Difference{{Place: "response.body.$.Error.Code", Want: "NoSuchKey", Got: "NoSuchBucket"}}
	if diff := cmp.Diff(want, Compare(answer("NoSuchKey", "AAAA"), answer("NoSuchBucket", "BBBB"), rules)); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
}

// FuzzXMLLeaves holds: whatever is read, there is no panic, and places differ.
func FuzzXMLLeaves(f *testing.F) {
	f.Add([]byte(`<a b="c"><d>e</d><d/>f</a>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		found, err := xmlLeaves("b", body)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, l := range found {
			if seen[l.place] && !strings.Contains(l.place, ".@") {
				t.Fatalf("place %s twice in %q", l.place, body)
			}
			seen[l.place] = true
		}
	})
}
