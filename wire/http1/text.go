package http1

import "tapedeck/wire"

// text makes a string of bytes from the wire; a protobuf string must be UTF-8,
// so what is not is written as %XX.
func text(b []byte) string { return wire.Text(b, maxHead) }
