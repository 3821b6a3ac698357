package wire

import "tapedeck/events"

// room is what every exchange consists of, allocated at once.
type room struct {
	exchange   events.Exchange
	connection events.Connection
	request    events.Request
	response   events.Response
	asked      events.Body
	answered   events.Body
}

// NewExchange begins the exchange number ordinal of connection c at the first
// byte of its request (Unix ns). response has its room beside it and becomes
// part of it when an answer comes.
func NewExchange(id []byte, c *events.Connection, ordinal uint32, now int64) (x *events.Exchange, response *events.Response) {
	r := &room{}
	k := &r.connection
	k.Id, k.Client, k.Server, k.OpenedAt, k.Tls, k.Listen, k.Ordinal = c.Id, c.Client, c.Server, c.OpenedAt, c.Tls, c.Listen, ordinal
	r.request.FirstByte, r.request.LastByte, r.request.Body = now, now, &r.asked
	r.response.Body = &r.answered
	r.exchange.Id, r.exchange.Connection, r.exchange.Request = id, k, &r.request
	return &r.exchange, &r.response
}
