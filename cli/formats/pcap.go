package formats

import (
	"bufio"
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"tapedeck/events"
	"tapedeck/wire"
)

const (
	maxConversations = 1 << 14
	maxConversing    = 256 << 20 // bytes of exchanges under way and of segments before their turn
)

// ReadPcap reads the TCP connections of a pcap or pcapng file.
func ReadPcap(r io.Reader, o Options) iter.Seq2[*events.Exchange, error] {
	o = o.withDefaults()
	return func(yield func(*events.Exchange, error) bool) {
		in := &counted{r: bufio.NewReader(r)}
		p := &pcapReader{Options: o, conversations: map[flow]*list.Element{}, yield: func(x *events.Exchange) bool { return yield(x, nil) }}
		packets := 0
		err := p.read(in, &packets)
		if p.stopped {
			return
		}
		p.endAll()
		if err != nil && !p.stopped {
			yield(nil, fmt.Errorf("pcap: byte %d, after %d packets: %w", in.offset, packets, err))
		}
	}
}

type packetSource interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
}

type pcapReader struct {
	Options
	conversations map[flow]*list.Element // of *conversation
	oldest        list.List              // the one that was quiet the longest is in front
	size          int
	yield         func(*events.Exchange) bool
	stopped       bool
	last          time.Time
}

// flow is one direction of a connection.
type flow struct{ net, ports gopacket.Flow }

func (f flow) reverse() flow { return flow{f.net.Reverse(), f.ports.Reverse()} }

// conversation is one TCP connection of the file.
type conversation struct {
	client  flow
	d       *dissection
	streams [3]*stream
	now     time.Time
	size    int
}

func (p *pcapReader) read(in io.Reader, packets *int) error {
	source, link, err := openPcap(in)
	if err != nil {
		return err
	}
	for !p.stopped {
		data, info, err := source.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the file is cut off in a packet")
		}
		if err != nil {
			return err
		}
		*packets++
		p.packet(data, link(info), info)
	}
	return nil
}

// openPcap tells the two formats apart by their first bytes.
func openPcap(in io.Reader) (packetSource, func(gopacket.CaptureInfo) layers.LinkType, error) {
	b := bufio.NewReaderSize(in, 16) // the smallest: offsets stay those of the file
	magic, err := b.Peek(4)
	if err != nil {
		return nil, nil, errors.New("the file is too short for a pcap file")
	}
	if string(magic) != "\x0a\x0d\x0d\x0a" {
		r, err := pcapgo.NewReader(b)
		if err != nil {
			return nil, nil, err
		}
		return r, func(gopacket.CaptureInfo) layers.LinkType { return r.LinkType() }, nil
	}
	r, err := pcapgo.NewNgReader(b, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
	if err != nil {
		return nil, nil, err
	}
	return r, func(info gopacket.CaptureInfo) layers.LinkType {
		if len(info.AncillaryData) > 0 {
			if link, ok := info.AncillaryData[0].(layers.LinkType); ok {
				return link
			}
		}
		return layers.LinkTypeNull
	}, nil
}

func (p *pcapReader) packet(data []byte, link layers.LinkType, info gopacket.CaptureInfo) {
	packet := gopacket.NewPacket(data, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	segment, ok := packet.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !ok {
		p.noTCP(packet)
		return
	}
	network := packet.NetworkLayer()
	if network == nil {
		p.LeftOut("a packet without an IP header")
		return
	}
	if info.Timestamp.After(p.last) {
		p.last = info.Timestamp
	}
	p.segment(flow{network.NetworkFlow(), segment.TransportFlow()}, segment, info.Timestamp)
}

func (p *pcapReader) noTCP(packet gopacket.Packet) {
	switch {
	case packet.Layer(gopacket.LayerTypeFragment) != nil:
		p.LeftOut("a fragment of an IP packet")
	case packet.Layer(layers.LayerTypeUDP) != nil:
		p.LeftOut("a UDP packet")
	case packet.NetworkLayer() == nil:
		p.LeftOut("a packet that is not IP")
	default:
		p.LeftOut("a packet that is not TCP")
	}
}

func (p *pcapReader) segment(f flow, s *layers.TCP, t time.Time) {
	c := p.find(f, s, t)
	if c == nil {
		return
	}
	if t.After(c.now) { // clocks step back
		c.now = t
	}
	side := events.Side_REQUEST
	if f != c.client {
		side = events.Side_RESPONSE
	}
	from, to := c.streams[side], c.streams[otherSide(side)]
	if s.ACK && !s.RST {
		to.acknowledged(s.Ack)
	}
	seq := s.Seq
	if s.SYN {
		seq++
	}
	if !s.RST {
		from.segment(seq, s.Payload)
	}
	if s.FIN {
		from.finish(seq + uint32(len(s.Payload)))
	}
	p.after(c, s.RST)
}

// after ends what a packet has ended, and yields what was found.
func (p *pcapReader) after(c *conversation, reset bool) {
	for _, side := range []events.Side{events.Side_REQUEST, events.Side_RESPONSE} {
		if c.streams[side].finished() {
			c.d.close(side, c.now, nil)
		}
	}
	if reset {
		c.flush()
		c.d.close(events.Side_RESPONSE, c.now, syscall.ECONNRESET)
		c.d.close(events.Side_REQUEST, c.now, syscall.ECONNRESET)
	}
	p.give(c)
	if c.d.closed[events.Side_REQUEST] && c.d.closed[events.Side_RESPONSE] {
		p.remove(c)
		return
	}
	size := c.streams[events.Side_REQUEST].held + c.streams[events.Side_RESPONSE].held
	if len(c.d.open) > 0 || c.d.dissector == nil {
		size += c.d.size
	}
	p.size, c.size = p.size+size-c.size, size
	for (p.size > maxConversing || len(p.conversations) > maxConversations) && p.oldest.Len() > 1 {
		p.end(p.oldest.Front().Value.(*conversation), "too much is under way at once")
	}
}

func (p *pcapReader) give(c *conversation) {
	for _, x := range c.d.ended() {
		if !p.stopped && !p.yield(x) {
			p.stopped = true
		}
	}
}

// find finds the connection of a packet. One whose beginning is not in the
// file begins with its first bytes.
func (p *pcapReader) find(f flow, s *layers.TCP, t time.Time) *conversation {
	e := p.conversations[f]
	if e == nil {
		e = p.conversations[f.reverse()]
	}
	if e != nil {
		c := e.Value.(*conversation)
		if !s.SYN || s.ACK || c.repeated(f, s) {
			p.oldest.MoveToBack(e)
			return c
		}
		p.end(c, "its port was used again") // a new connection on the same ports
	}
	if s.RST || !s.SYN && len(s.Payload) == 0 {
		return nil
	}
	return p.begin(p.clientOf(f, s), !s.SYN, t)
}

// repeated says that a SYN is that of the connection itself, sent again.
func (c *conversation) repeated(f flow, s *layers.TCP) bool {
	from := c.streams[events.Side_REQUEST]
	return f == c.client && from.begun && after(s.Seq+1, from.next) == 0
}

// clientOf is the flow from the client, seen from the first packet.
func (p *pcapReader) clientOf(f flow, s *layers.TCP) flow {
	switch {
	case s.SYN && !s.ACK:
		return f
	case s.SYN:
		return f.reverse()
	case len(s.Payload) > 4 && string(s.Payload[:5]) == "HTTP/":
		return f.reverse()
	case slices.ContainsFunc(p.Protocols, func(w wire.Protocol) bool { return w.Detect(s.Payload) == wire.Yes }):
		return f
	case s.SrcPort < s.DstPort: // servers have the lower ports
		return f.reverse()
	}
	return f
}

func (p *pcapReader) begin(client flow, midway bool, t time.Time) *conversation {
	id := events.NewID(t)
	info := &events.Connection{Id: id[:], Client: address(client, false), Server: address(client, true), OpenedAt: t.UnixNano()}
	c := &conversation{client: client, d: newDissection(info, p.direction(client), p.Options), now: t}
	c.d.midway = midway
	for _, side := range []events.Side{events.Side_REQUEST, events.Side_RESPONSE} {
		c.streams[side] = &stream{
			data: func(b []byte) { c.d.data(side, c.now, b) },
			gap:  func(n int64) { c.d.gap(side, c.now, n) },
		}
	}
	p.conversations[client] = p.oldest.PushBack(c)
	return c
}

// direction: connections to the service's ports are inbound.
func (p *pcapReader) direction(client flow) events.Direction {
	if len(p.Ports) == 0 {
		return p.Direction
	}
	if slices.Contains(p.Ports, binary.BigEndian.Uint16(client.ports.Dst().Raw())) {
		return events.Direction_INBOUND
	}
	return events.Direction_OUTBOUND
}

func address(client flow, server bool) string {
	host, port := client.net.Src(), client.ports.Src()
	if server {
		host, port = client.net.Dst(), client.ports.Dst()
	}
	return net.JoinHostPort(host.String(), port.String())
}

// end gives up a connection that the file does not show to its end.
func (p *pcapReader) end(c *conversation, why string) {
	c.flush()
	c.d.end(c.now, why)
	p.remove(c)
	p.give(c)
}

func (c *conversation) flush() {
	c.streams[events.Side_REQUEST].flush()
	c.streams[events.Side_RESPONSE].flush()
}

func (p *pcapReader) remove(c *conversation) {
	if e := p.conversations[c.client]; e != nil && e.Value == c {
		delete(p.conversations, c.client)
		p.oldest.Remove(e)
		p.size -= c.size
		c.size = 0
	}
}

func (p *pcapReader) endAll() {
	for p.oldest.Len() > 0 {
		p.end(p.oldest.Front().Value.(*conversation), "the file ends before it")
	}
}
