package formats_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"tapedeck/cli/formats"
	"tapedeck/events"
)

// testdata/curl.pcap was recorded by tcpdump 4.99 on loopback: three runs of
// curl against Python's http.server, the first with two requests on one
// connection.
func TestReadPcapOfTcpdump(t *testing.T) {
	r := read("pcap", "", golden(t, "curl.pcap"), formats.Options{})
	if r.err != nil {
		t.Fatal(r.err)
	}
	equal(t, lines(r.exchanges), []string{
		`HTTP/1.1 GET http://127.0.0.1:18999/users/1?x=1 "" -> 200 "{\"path\": \"/users/1?x=1\"}"`,
		`HTTP/1.1 GET http://127.0.0.1:18999/none "" -> 404 "{\"error\":\"none\"}"`,
		`HTTP/1.1 POST http://127.0.0.1:18999/login "{\"user\":\"ann\"}" -> 201 "{\"got\": 14, \"access_token\": \"t-1\"}"`,
		`HTTP/1.1 GET http://127.0.0.1:18999/me "" -> 200 "{\"path\": \"/me\"}"`,
	})
	first, next := r.exchanges[0].Connection, r.exchanges[1].Connection
	if string(first.Id) != string(next.Id) || next.Ordinal != 1 || first.Server != "127.0.0.1:18999" || !strings.HasPrefix(first.Client, "127.0.0.1:") {
		t.Errorf("connections %v, %v", first, next)
	}
	if len(r.lost)+len(r.leftOut) > 0 {
		t.Errorf("lost %v, left out %v", r.lost, r.leftOut)
	}
}

// wireEnd is one end of a connection that tests write packets of.
type wireEnd struct {
	port layers.TCPPort
	seq  uint32
}

// packets writes the packets of connections.
type packets struct {
	t    testing.TB
	v6   bool
	vlan bool
	now  time.Time
	all  [][]byte
	at   []time.Time
}

type conversation struct {
	*packets
	client, server *wireEnd
}

func newPackets(t testing.TB) *packets {
	return &packets{t: t, now: time.Unix(1700000000, 0)}
}

func (p *packets) open(clientPort, serverPort int) *conversation {
	c := &conversation{p, &wireEnd{layers.TCPPort(clientPort), 0xfffffff0}, &wireEnd{layers.TCPPort(serverPort), 77}} // sequence numbers go round the corner
	c.send(c.client, c.server, "S", "")
	c.client.seq++
	c.send(c.server, c.client, "SA", "")
	c.server.seq++
	c.send(c.client, c.server, "A", "")
	return c
}

func (c *conversation) ask(s string)    { c.send(c.client, c.server, "A", s) }
func (c *conversation) answer(s string) { c.send(c.server, c.client, "A", s) }

func (c *conversation) close() {
	c.send(c.client, c.server, "FA", "")
	c.client.seq++
	c.send(c.server, c.client, "FA", "")
	c.server.seq++
	c.send(c.client, c.server, "A", "")
}

func (c *conversation) send(from, to *wireEnd, flags, data string) {
	s := &layers.TCP{
		SrcPort: from.port, DstPort: to.port, Seq: from.seq, Ack: to.seq, Window: 65535,
		SYN: strings.Contains(flags, "S"), ACK: strings.Contains(flags, "A"), FIN: strings.Contains(flags, "F"), RST: strings.Contains(flags, "R"),
	}
	from.seq += uint32(len(data))
	var stack []gopacket.SerializableLayer
	ethernet := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	if c.v6 {
		ethernet.EthernetType = layers.EthernetTypeIPv6
	}
	stack = append(stack, ethernet)
	if c.vlan {
		stack = append(stack, &layers.Dot1Q{VLANIdentifier: 7, Type: ethernet.EthernetType})
		ethernet.EthernetType = layers.EthernetTypeDot1Q
	}
	client := from == c.client
	if c.v6 {
		ip := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolTCP, HopLimit: 64, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8::2")}
		if !client {
			ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
		}
		s.SetNetworkLayerForChecksum(ip)
		stack = append(stack, ip)
	} else {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}}
		if !client {
			ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
		}
		s.SetNetworkLayerForChecksum(ip)
		stack = append(stack, ip)
	}
	stack = append(stack, s, gopacket.Payload(data))
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...); err != nil {
		c.t.Fatal(err)
	}
	c.now = c.now.Add(time.Millisecond)
	c.all, c.at = append(c.all, bytes.Clone(b.Bytes())), append(c.at, c.now)
}

// file is a pcap file of the packets.
func (p *packets) file() []byte {
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		p.t.Fatal(err)
	}
	for i, data := range p.all {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: p.at[i], CaptureLength: len(data), Length: len(data)}, data); err != nil {
			p.t.Fatal(err)
		}
	}
	return b.Bytes()
}

func (p *packets) next() []byte {
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
	if err != nil {
		p.t.Fatal(err)
	}
	for i, data := range p.all {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: p.at[i], CaptureLength: len(data), Length: len(data)}, data); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		p.t.Fatal(err)
	}
	return b.Bytes()
}

// shop is one connection with three exchanges, in small segments.
func shop(p *packets) {
	c := p.open(40000, 8080)
	for i := range 3 {
		c.ask(fmt.Sprintf("POST /orders/%d HTTP/1.1\r\nHost: shop\r\n", i))
		c.ask("Content-Length: 10\r\n\r\n01234")
		c.ask("56789")
		c.answer("HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n")
		c.answer("abcdefghijklm")
		c.answer("nopqrstuvwxyz")
	}
	c.close()
}

var shopLines = []string{
	`HTTP/1.1 POST http://shop/orders/0 "0123456789" -> 200 "abcdefghijklmnopqrstuvwxyz"`,
	`HTTP/1.1 POST http://shop/orders/1 "0123456789" -> 200 "abcdefghijklmnopqrstuvwxyz"`,
	`HTTP/1.1 POST http://shop/orders/2 "0123456789" -> 200 "abcdefghijklmnopqrstuvwxyz"`,
}

func TestReadPcapAndPcapng(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, vlan := range []bool{false, true} {
			p := newPackets(t)
			p.v6, p.vlan = v6, vlan
			shop(p)
			for _, file := range [][]byte{p.file(), p.next()} {
				r := read("", "", file, formats.Options{})
				if r.err != nil {
					t.Fatal(r.err)
				}
				equal(t, lines(r.exchanges), shopLines)
				x := r.exchanges[0]
				equal(t, []int64{x.Request.FirstByte, x.Request.LastByte, x.Response.FirstByte, x.Response.LastByte},
					[]int64{1700000000004e6, 1700000000006e6, 1700000000007e6, 1700000000009e6})
			}
		}
	}
}

// Packets that come twice, or before their turn as long as nobody has
// acknowledged them, change nothing.
func TestPcapOfPacketsInDisorder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		p := newPackets(t)
		shop(p)
		for i := 3; i < len(p.all)-4; i += 3 { // the three packets of one side
			random.Shuffle(3, func(a, b int) { p.all[i+a], p.all[i+b] = p.all[i+b], p.all[i+a] })
		}
		for range 5 {
			i := 3 + random.IntN(len(p.all)-7)
			again := min(i+random.IntN(3), len(p.all)-1)
			p.all = append(p.all[:again+1], append([][]byte{p.all[i]}, p.all[again+1:]...)...)
			p.at = append(p.at, p.now)
		}
		r := read("", "", p.file(), formats.Options{})
		if r.err != nil || len(r.lost) > 0 {
			t.Fatalf("lost %v, error %v", r.lost, r.err)
		}
		equal(t, lines(r.exchanges), shopLines)
	}
}

// A packet that is not in the file costs its exchange, which is counted; the
// others are whole.
func TestPcapWithoutAPacket(t *testing.T) {
	whole := newPackets(t)
	shop(whole)
	for i := range whole.all {
		p := newPackets(t)
		shop(p)
		p.all, p.at = append(p.all[:i:i], p.all[i+1:]...), append(p.at[:i:i], p.at[i+1:]...)
		r := read("", "", p.file(), formats.Options{})
		if r.err != nil {
			t.Fatal(r.err)
		}
		data := i >= 3 && i < len(whole.all)-3
		good := 0
		for _, l := range lines(r.exchanges) {
			for _, want := range shopLines {
				if l == want {
					good++
				}
			}
		}
		if want := 3; !data && (good != want || len(r.exchanges) != want) {
			t.Errorf("without packet %d, which has no data: %v, lost %v", i, lines(r.exchanges), r.lost)
		}
		if data && (good != len(r.exchanges) || good < 1 || good == 3) {
			t.Errorf("without packet %d: %v, lost %v", i, lines(r.exchanges), r.lost)
		}
	}
}

func TestPcapThatBeginsMidwayAndEndsEarly(t *testing.T) {
	p := newPackets(t)
	shop(p)
	p.all, p.at = p.all[7:17], p.at[7:17] // in the first answer, to within the third request
	r := read("", "", p.file(), formats.Options{})
	if r.err != nil {
		t.Fatal(r.err)
	}
	equal(t, lines(r.exchanges), []string{shopLines[1], `HTTP/1.1 POST http://shop/orders/2 "01234" !gap: the file ends before it`})
}

func TestPcapOfManyConnections(t *testing.T) {
	p := newPackets(t)
	var open []*conversation
	for i := range 50 {
		open = append(open, p.open(41000+i, 80))
	}
	for i, c := range open {
		c.ask(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i))
	}
	for _, c := range open {
		c.answer("HTTP/1.1 200 OK\r\n\r\nuntil the end")
	}
	for i, c := range open {
		switch {
		case i == 7:
			c.send(c.server, c.client, "RA", "")
		case i == 8: // stays open
		default:
			c.close()
		}
	}
	again := p.open(41000, 80) // the same ports
	again.ask("GET /again HTTP/1.1\r\nHost: a\r\n\r\n")
	again.answer("HTTP/1.1 204 No\r\n\r\n")
	r := read("", "", p.file(), formats.Options{})
	if r.err != nil || len(r.exchanges) != 51 {
		t.Fatalf("%d exchanges, error %v", len(r.exchanges), r.err)
	}
	failures := map[string]int{}
	for _, x := range r.exchanges {
		failures[x.Failure]++
	}
	equal(t, failures, map[string]int{"": 49, "response cut off: reset by peer": 1, "gap: the file ends before it": 1})
}

func TestPcapDirectionsByPort(t *testing.T) {
	p := newPackets(t)
	for _, port := range []int{8080, 9090} {
		c := p.open(40000+port, port)
		c.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.answer("HTTP/1.1 204 No\r\n\r\n")
		c.close()
	}
	r := read("", "", p.file(), formats.Options{Ports: []uint16{8080}})
	equal(t, []events.Direction{r.exchanges[0].Direction, r.exchanges[1].Direction}, []events.Direction{events.Direction_INBOUND, events.Direction_OUTBOUND})
}

// What is no HTTP is a connection with its byte counts, as capture has it.
func TestPcapOfAnotherProtocol(t *testing.T) {
	p := newPackets(t)
	c := p.open(40000, 22)
	c.answer("SSH-2.0-OpenSSH\r\n")
	c.ask("SSH-2.0-client\r\n")
	c.client.seq += 1000 // not in the file
	c.ask("x")
	c.answer("y")
	c.close()
	r := read("", "", p.file(), formats.Options{})
	if r.err != nil || len(r.exchanges) != 1 {
		t.Fatalf("%d exchanges, error %v", len(r.exchanges), r.err)
	}
	x := r.exchanges[0]
	if x.Protocol != "tcp" || x.Request.Body.Size != 16+1000+1 || x.Response.Body.Size != 18 || len(x.Request.Body.Data) > 0 {
		t.Errorf("exchange %v", x)
	}
	if took := time.Duration(x.Request.LastByte - x.Request.FirstByte); took > time.Second {
		t.Errorf("it took %s: a gap has the time of now", took)
	}
}

func TestPcapLongBodies(t *testing.T) {
	p := newPackets(t)
	c := p.open(40000, 80)
	c.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	body := strings.Repeat("0123456789abcdef", 40000) // 640,000
	c.answer(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)))
	for i := 0; i < len(body); i += 1000 {
		c.answer(body[i : i+1000])
	}
	c.close()
	for limit, want := range map[int64]int{0: len(body), 300000: 300000, 100: 100, -1: len(body)} {
		r := read("", "", p.file(), formats.Options{MaxBody: limit})
		b := r.exchanges[0].Response.Body
		if string(b.Data) != body[:want] || b.Size != int64(len(body)) || b.Kept != int64(want) {
			t.Errorf("limit %d: data %d, size %d, kept %d", limit, len(b.Data), b.Size, b.Kept)
		}
	}
}

func TestPcapErrorsSayWhere(t *testing.T) {
	p := newPackets(t)
	shop(p)
	whole := p.file()
	for file, want := range map[string]string{
		string(whole[:len(whole)-3]): fmt.Sprintf("pcap: byte %d, after %d packets: the file is cut off in a packet", len(whole)-3, len(p.all)-1),
		string(whole[:10]):           "after 0 packets: ",
		"\xa1\xb2":                   "too short",
	} {
		r := read("pcap", "", []byte(file), formats.Options{})
		if r.err == nil || !strings.Contains(r.err.Error(), want) {
			t.Errorf("error %v, want %q", r.err, want)
		}
	}
	// What came before the cut is there.
	if r := read("pcap", "", whole[:len(whole)-3], formats.Options{}); len(r.exchanges) != 3 {
		t.Errorf("%d exchanges before the cut, want 3", len(r.exchanges))
	}
}

func FuzzReadPcap(f *testing.F) {
	p := newPackets(f)
	shop(p)
	f.Add(p.file())
	f.Add(p.next())
	f.Add(golden(f, "curl.pcap"))
	f.Fuzz(func(t *testing.T, file []byte) {
		checkExchanges(t, read("pcap", "", file, formats.Options{MaxBody: 4096}).exchanges, 4096)
	})
}

// The same packets, each lost, doubled or moved as the fuzzer says: a good
// exchange stays good, or is lost and counted; none is made up.
func FuzzPcapPackets(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23})
	f.Add([]byte{0, 1, 2, 3, 5, 4, 8, 7, 6, 6, 6, 9, 11, 12, 20})
	f.Fuzz(func(t *testing.T, order []byte) {
		p := newPackets(t)
		shop(p)
		all := p.all
		p.all = nil
		for _, n := range order[:min(len(order), 200)] {
			p.all = append(p.all, all[int(n)%len(all)])
		}
		for len(p.at) < len(p.all) {
			p.at = append(p.at, p.now)
		}
		r := read("pcap", "", p.file(), formats.Options{})
		if r.err != nil {
			t.Fatal(r.err)
		}
		checkExchanges(t, r.exchanges, 1<<20)
		for _, x := range r.exchanges {
			l := line(x)
			if x.Protocol == "http" && x.Failure == "" && l != shopLines[0] && l != shopLines[1] && l != shopLines[2] {
				t.Fatalf("made up: %s", l)
			}
		}
	})
}
