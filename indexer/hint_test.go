package indexer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tapedeck/events"
)

// However many endpoints a tape names, its hint fits into a message.
func TestHintIsBounded(t *testing.T) {
	b := events.NewBuilder(noon)
	add := func(template string) {
		id := events.NewID(noon)
		e := &events.Entry{Id: id[:], Time: uint64(noon.UnixNano()), Class: events.StatusClass_FAILED}
		p := &events.Endpoint{Direction: events.Direction_OUTBOUND, Protocol: "http", Host: "payments", Method: "POST", Template: template}
		if err := b.AddExchange(e, p, &events.Exchange{Id: id[:]}); err != nil {
			t.Fatal(err)
		}
	}
	const endpoints = 3000
	for i := range endpoints {
		add(fmt.Sprintf("/%s/%d", strings.Repeat("x", 900), i))
	}
	add("/busy")
	add("/busy")
	b.AddOpen(&events.Entry{Id: make([]byte, 16), Time: uint64(noon.UnixNano())}, &events.Endpoint{Direction: events.Direction_INBOUND, Template: "/open"}, nil)
	source := events.NewID(noon)
	raw, err := b.Close(&events.Header{SourceId: source[:], Number: 1, Workload: workload("cart")})
	if err != nil {
		t.Fatal(err)
	}
	front, err := events.ParseFront(raw)
	if err != nil {
		t.Fatal(err)
	}
	h := hint(front)
	if h.Exchanges != endpoints+2 || len(h.Endpoints) != maxHintEndpoints || h.Endpoints[0].Template != "/busy" || h.Endpoints[0].Errors != 2 {
		t.Errorf("hint of %d exchanges names %d endpoints, first %+v", h.Exchanges, len(h.Endpoints), h.Endpoints[0])
	}
	data, err := json.Marshal(h)
	if err != nil || len(data) > 512<<10 {
		t.Errorf("the hint has %d bytes (%v)", len(data), err)
	}
}
