package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

var makeGolden = flag.Bool("make-golden", false, "write the golden tape of a new format version; an existing one is never replaced")

const goldenTape = "testdata/tape-v1.tape"

var sampleTime = time.Date(2026, 3, 4, 5, 6, 7, 89012345, time.UTC)

// sample holds a value in every field of every message that a tape can have.
type sample struct {
	header   *Header
	endpoint *Endpoint
	entries  []*Entry
	records  []*Record
}

func sampleID(n byte) []byte {
	id := NewID(sampleTime)
	copy(id[8:], bytes.Repeat([]byte{0x80 | n}, 8))
	return id[:]
}

func newSample() *sample {
	body := []byte(`{"sku":"blue-cup","count":2}`)
	request := &Request{
		Method: "POST", Scheme: "http", Host: "Orders.shop:8080", Target: "/orders/42/lines?dry=1", Version: "HTTP/1.1",
		Headers:   []*Field{{Name: []byte("Host"), Value: []byte("Orders.shop:8080")}, {Name: []byte("X-Raw"), Value: []byte{0xff, 0xfe}}},
		Body:      &Body{Data: body, Size: int64(len(body)) + 3, Kept: int64(len(body)) + 3, Hmac: []byte{1, 2, 3}},
		Trailers:  []*Field{{Name: []byte("Checksum"), Value: []byte("abc")}},
		FirstByte: sampleTime.UnixNano(),
		LastByte:  sampleTime.Add(time.Millisecond).UnixNano(),
	}
	response := &Response{
		Status: "201", Reason: "Created", Version: "HTTP/1.1",
		Headers: []*Field{{Name: []byte("content-length"), Value: []byte("2")}},
		Body:    &Body{Data: []byte("ok"), Size: 2, Kept: 2}, Trailers: []*Field{{Name: []byte("T"), Value: []byte("1")}},
		FirstByte: sampleTime.Add(2 * time.Millisecond).UnixNano(), LastByte: sampleTime.Add(3 * time.Millisecond).UnixNano(),
	}
	exchange := &Exchange{
		Id: sampleID(1), Direction: Direction_INBOUND, Protocol: "http",
		Connection: &Connection{Id: sampleID(2), Client: "127.0.0.1:40000", Server: "127.0.0.1:8080", OpenedAt: sampleTime.UnixNano(), Ordinal: 3,
			Tls: &TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", ServerName: "orders.shop", Alpn: "http/1.1"}},
		Request: request, Response: response,
		Interim:    []*Response{{Status: "100", Reason: "Continue", Version: "HTTP/1.1"}},
		Failure:    "reset by peer",
		Redactions: []*Redaction{{Place: "request.header.Authorization", Class: "credential", Action: "token"}},
	}
	entry := &Entry{
		Id: sampleID(1), Time: uint64(sampleTime.UnixNano()), DurationUs: 3000, TtfbUs: 2000, Peer: "127.0.0.1:40000",
		Path: "/orders/42/lines", Status: "201", Class: StatusClass_OK, RequestBytes: int64(len(body)) + 3, ResponseBytes: 2,
		Session: sampleID(3), Connection: sampleID(2), TraceId: sampleID(4), SpanId: sampleID(5)[:8], ParentSpanId: sampleID(6)[:8],
		CauseId: sampleID(7), CauseConfidence: 0.5, ReplayId: "r1", Flags: uint32(Flag_TRUNCATED | Flag_REDACTED),
		Tags: []*Tag{{Key: "tenant", Value: "äöü"}},
	}
	return &sample{
		header: &Header{
			SourceId: sampleID(8), Number: 7, RedactionKeyId: "k1", ClosedAt: sampleTime.Add(time.Second).UnixNano(), Last: true,
			Workload: &Workload{Cluster: "local", Namespace: "shop", Service: "orders", Version: "1.2.3", Instance: "orders-0"},
			Counters: &Counters{Begun: 10, Taped: 8, Dropped: map[string]uint64{"pressure": 1}, Open: 1, SpooledTapes: 2},
		},
		endpoint: &Endpoint{Direction: Direction_INBOUND, Protocol: "http", Host: "orders.shop:8080", Method: "POST", Template: "/orders/{n}/lines", Replay: true},
		entries:  []*Entry{entry, {Id: sampleID(9), Time: uint64(sampleTime.UnixNano()), Path: "/events"}},
		records: []*Record{
			{Kind: &Record_Part{&Part{ExchangeId: sampleID(1), Side: Side_REQUEST, Offset: int64(len(body)), Data: []byte("\x00\x01\x02")}}},
			{Kind: &Record_Segment{&Segment{ExchangeId: sampleID(9), Number: 1, Messages: []*Message{
				{Side: Side_RESPONSE, Time: sampleTime.UnixNano(), Type: "text", Data: []byte("hello"), Size: 9}}}}},
			{Kind: &Record_Exchange{exchange}},
		},
	}
}

// write makes a tape of the sample; refs to its part are set as capture does.
func (s *sample) write(t testing.TB) []byte {
	t.Helper()
	b := NewBuilder(sampleTime)
	part, err := b.AddPart(s.records[0].GetPart())
	if err != nil {
		t.Fatal(err)
	}
	segment, err := b.AddSegment(s.records[1].GetSegment())
	if err != nil {
		t.Fatal(err)
	}
	x := s.records[2].GetExchange()
	x.Request.Body.Parts = []*RecordRef{part}
	x.Segments = []*RecordRef{segment}
	if err := b.AddExchange(s.entries[0], s.endpoint, x); err != nil {
		t.Fatal(err)
	}
	b.AddOpen(s.entries[1], s.endpoint, segment)
	out, err := b.Close(s.header)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readAll(t testing.TB, b []byte) (*Tape, []*Record) {
	t.Helper()
	tape, err := ParseTape(b)
	if err != nil {
		t.Fatal(err)
	}
	var records []*Record
	for r, err := range tape.Records() {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return tape, records
}

func TestRoundTrip(t *testing.T) {
	want := newSample()
	tape, records := readAll(t, want.write(t))
	expect(t, want, tape, records)

	entry := tape.Index.Entries[0]
	r, err := tape.Record(entry.Block, entry.Position)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.records[2], r, protocmp.Transform()); diff != "" {
		t.Errorf("the record that the entry points at (-want +got):\n%s", diff)
	}
}

func expect(t *testing.T, want *sample, tape *Tape, records []*Record) {
	t.Helper()
	if diff := cmp.Diff(want.header, tape.Header, protocmp.Transform()); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.entries, tape.Index.Entries, protocmp.Transform()); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]*Endpoint{want.endpoint}, tape.Index.Endpoints, protocmp.Transform()); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.records, records, protocmp.Transform()); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// A tape of version 1 is read for ever.
func TestGoldenTape(t *testing.T) {
	want := newSample()
	if *makeGolden {
		f, err := os.OpenFile(goldenTape, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		f.Write(want.write(t))
		f.Close()
	}
	b, err := os.ReadFile(goldenTape)
	if err != nil {
		t.Fatal(err)
	}
	tape, records := readAll(t, b)
	want.write(t) // sets the places, which are the same in every tape of the sample
	want.header.TapeId = tape.Header.TapeId
	for _, ref := range append(want.records[2].GetExchange().Request.Body.Parts, want.records[2].GetExchange().Segments...) {
		ref.TapeId = tape.Header.TapeId
	}
	expect(t, want, tape, records)
	if got, want := tape.TapeID().Time().UnixMilli(), sampleTime.UnixMilli(); got != want {
		t.Errorf("time of the tape id is %d, want %d", got, want)
	}
}

// Many records fill many blocks, and each is found by its own place.
func TestBlocks(t *testing.T) {
	b := NewBuilder(sampleTime)
	var refs []*RecordRef
	for i := range 1000 {
		ref, err := b.AddPart(&Part{ExchangeId: sampleID(1), Offset: int64(i), Data: bytes.Repeat([]byte{byte(i)}, i)})
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	size := b.Size()
	out, err := b.Close(newSample().header)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) > size {
		t.Errorf("the tape has %d bytes, more than its bound of %d", len(out), size)
	}
	tape, records := readAll(t, out)
	if got := len(tape.Index.Blocks); got < 7 || len(records) != 1000 {
		t.Errorf("got %d blocks and %d records, want at least 7 and 1000", got, len(records))
	}
	for i, ref := range refs {
		r, err := tape.Record(ref.Block, ref.Position)
		if err != nil || r.GetPart().GetOffset() != int64(i) || len(r.GetPart().GetData()) != i {
			t.Fatalf("record %d: got %v, %v", i, r, err)
		}
	}
}

// Flipping any bit is noticed, or changes nothing that can be read.
func TestCorruption(t *testing.T) {
	good := newSample().write(t)
	tape, records := readAll(t, good)
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			got, err := ParseTape(bad)
			if err == nil {
				err = got.Verify()
			}
			if err == nil {
				equalTapes(t, fmt.Sprintf("bit %d of byte %d", bit, i), tape, records, bad)
			} else if !errors.Is(err, ErrTape) {
				t.Fatalf("bit %d of byte %d: error %v does not wrap ErrTape", bit, i, err)
			}
		}
	}
}

func equalTapes(t *testing.T, what string, tape *Tape, records []*Record, bad []byte) {
	t.Helper()
	got, gotRecords := readAll(t, bad)
	if !proto.Equal(got.Header, tape.Header) || !proto.Equal(got.Index, tape.Index) || len(gotRecords) != len(records) {
		t.Fatalf("%s: not noticed", what)
	}
	for i := range records {
		if !proto.Equal(records[i], gotRecords[i]) {
			t.Fatalf("%s: not noticed in record %d", what, i)
		}
	}
}

func TestTruncation(t *testing.T) {
	good := newSample().write(t)
	for n := range good {
		if _, err := ParseTape(good[:n]); !errors.Is(err, ErrTape) {
			t.Fatalf("cut to %d of %d bytes: got error %v, want one that wraps ErrTape", n, len(good), err)
		}
	}
	if _, err := ParseTape(append(bytes.Clone(good), 0)); !errors.Is(err, ErrTape) {
		t.Errorf("one byte too many: got error %v, want one that wraps ErrTape", err)
	}
}

// Tapes with right checksums and wrong content, as only ill will makes them.
func TestHostileTapes(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(h *Header, x *Index)
		want string
	}{
		{"no tape id", func(h *Header, x *Index) { h.TapeId = nil }, "tape id"},
		{"short source id", func(h *Header, x *Index) { h.SourceId = h.SourceId[:8] }, "source id"},
		{"no workload", func(h *Header, x *Index) { h.Workload = nil }, "workload"},
		{"no service", func(h *Header, x *Index) { h.Workload.Service = "" }, "workload"},
		{"block behind the end", func(h *Header, x *Index) { x.Blocks[0].Length++ }, "outside"},
		{"offset that overflows", func(h *Header, x *Index) { x.Blocks[0].Offset = -uint64(x.Blocks[0].Length) }, "outside"},
		{"huge block", func(h *Header, x *Index) { x.Blocks[0].RawLength = 1 << 31 }, "bound"},
		{"short entry id", func(h *Header, x *Index) { x.Entries[0].Id = x.Entries[0].Id[:15] }, "id of 15 bytes"},
		{"missing endpoint", func(h *Header, x *Index) { x.Entries[0].Endpoint = 1 }, "endpoint 1 of 1"},
		{"missing block", func(h *Header, x *Index) { x.Entries[0].Block = 1 }, "block 1 of 1"},
		{"many tags", func(h *Header, x *Index) { x.Entries[0].Tags = make([]*Tag, 9) }, "tags"},
		{"many entries", func(h *Header, x *Index) { x.Endpoints = make([]*Endpoint, maxItems) }, "items"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseTape(reframe(t, newSample().write(t), c.do))
			if !errors.Is(err, ErrTape) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one that wraps ErrTape and says %q", err, c.want)
			}
		})
	}
	// A block whose frame unpacks to other than it says.
	for _, raw := range []uint32{0, 10, 1 << 20} {
		tape, err := ParseTape(reframe(t, newSample().write(t), func(_ *Header, x *Index) { x.Blocks[0].RawLength = raw }))
		if err != nil {
			t.Fatal(err)
		}
		if err := tape.Verify(); !errors.Is(err, ErrTape) {
			t.Errorf("block that says it has %d bytes: got error %v, want one that wraps ErrTape", raw, err)
		}
	}
}

// reframe changes header and index of a tape and seals it again.
func reframe(t testing.TB, b []byte, do func(*Header, *Index)) []byte {
	t.Helper()
	tape, err := ParseTape(b)
	if err != nil {
		t.Fatal(err)
	}
	do(tape.Header, tape.Index)
	header, err := proto.Marshal(tape.Header)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(tape.Index)
	if err != nil {
		t.Fatal(err)
	}
	index := packer.EncodeAll(raw, nil)
	blocks := b[tape.Size:]
	out := append(append(bytes.Clone(b[:TapePrefix]), header...), index...)
	binary.BigEndian.PutUint32(out[8:], uint32(len(header)))
	binary.BigEndian.PutUint32(out[12:], uint32(len(index)))
	binary.BigEndian.PutUint32(out[20:], frontSum(out))
	return append(out, blocks...)
}

// Texts from the wire that are no UTF-8 spoil neither their exchange nor the tape.
func TestInvalidText(t *testing.T) {
	s := newSample()
	bad := "caf\xe9"
	s.entries[0].Path, s.entries[0].Tags[0].Value, s.endpoint.Host = bad, bad, bad
	x := s.records[2].GetExchange()
	x.Request.Target, x.Response.Reason = bad, bad
	tape, records := readAll(t, s.write(t))
	for what, got := range map[string]string{
		"path": tape.Index.Entries[0].Path, "tag": tape.Index.Entries[0].Tags[0].Value, "host": tape.Index.Endpoints[0].Host,
		"target": records[2].GetExchange().Request.Target, "reason": records[2].GetExchange().Response.Reason,
	} {
		if got != "caf\uFFFD" {
			t.Errorf("%s is %q, want %q", what, got, "caf\uFFFD")
		}
	}
}

func TestRecordOverBound(t *testing.T) {
	b := NewBuilder(sampleTime)
	if _, err := b.AddPart(&Part{Data: make([]byte, maxBlockRaw)}); err == nil {
		t.Error("a record that no reader would accept was written")
	}
	if !b.Empty() {
		t.Error("the refused record left something behind")
	}
}

func TestNewerVersion(t *testing.T) {
	b := newSample().write(t)
	binary.BigEndian.PutUint16(b[4:], TapeVersion+1)
	if _, err := ParseTape(b); !errors.Is(err, ErrTape) || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("got error %v, want one that wraps ErrTape and says to upgrade", err)
	}
}

// FuzzParseTape holds: whatever is read, there is no panic, errors wrap
// ErrTape, and what a parsed tape promises of its references is true.
func FuzzParseTape(f *testing.F) {
	golden, err := os.ReadFile(goldenTape)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden, false)
	f.Add(newSample().write(f), true)
	f.Add(reframe(f, golden, func(_ *Header, x *Index) { x.Blocks[0].Offset = 1<<64 - 1 }), true)
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal { // get past the checksum
			if size, err := FrontSize(b); err == nil && size <= int64(len(b)) {
				b = bytes.Clone(b)
				binary.BigEndian.PutUint32(b[20:], frontSum(b[:size]))
			}
		}
		tape, err := ParseTape(b)
		if err == nil {
			err = readEverything(tape)
		}
		if err != nil && !errors.Is(err, ErrTape) {
			t.Fatalf("error %v does not wrap ErrTape", err)
		}
	})
}

func readEverything(tape *Tape) error {
	for _, e := range tape.Index.Entries {
		row := tape.Row(e)
		row.EndpointID()
		if _, err := tape.Record(e.Block, e.Position); err != nil && !errors.Is(err, ErrTape) {
			return err
		}
	}
	return tape.Verify()
}
