package redact

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Bounds of what is opened: a bomb ends here.
const (
	maxParsed = 8 << 20 // bytes that are looked through as a whole
	maxRatio  = 250     // to 1, of a body that becomes larger than maxSmall
	maxSmall  = 1 << 20
)

var errBomb = errors.New("it unpacks to more than is looked at")

// decode takes content codings off (RFC 9110, 8.4.1), the last one first. What
// is cut off is decoded as far as it goes.
func decode(codings string, data []byte) ([]byte, error) {
	all := strings.Split(codings, ",")
	if len(all) > 3 {
		return nil, fmt.Errorf("decode body: %d codings", len(all))
	}
	for i := len(all) - 1; i >= 0; i-- {
		r, err := decoder(strings.ToLower(strings.TrimSpace(all[i])), data)
		if err != nil {
			return nil, fmt.Errorf("decode body: %w", err)
		}
		if data, err = readBounded(r, len(data)); err != nil {
			return nil, fmt.Errorf("decode body: %w", err)
		}
	}
	return data, nil
}

func decoder(coding string, data []byte) (io.Reader, error) {
	r := bytes.NewReader(data)
	switch coding {
	case "", "identity":
		return r, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(r)
	case "br":
		return brotli.NewReader(r), nil
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxParsed), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case "deflate": // zlib's format; some send it raw
		if z, err := zlib.NewReader(r); err == nil {
			return z, nil
		}
		return flate.NewReader(bufio.NewReader(bytes.NewReader(data))), nil
	}
	return nil, fmt.Errorf("coding %q is not known", coding)
}

// readBounded reads what is there; only nothing at all is an error.
func readBounded(r io.Reader, packed int) ([]byte, error) {
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	out, err := io.ReadAll(io.LimitReader(r, maxParsed+1))
	if len(out) > maxParsed || len(out) > maxSmall && len(out)/maxRatio > packed {
		return nil, errBomb
	}
	if err != nil && len(out) == 0 {
		return nil, err
	}
	return out, nil
}
