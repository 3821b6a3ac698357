package formats

import (
	"net/url"
	"strconv"
	"strings"

	"tapedeck/events"
)

// body cuts to what is kept. A body of ours knows its size and its hash.
func (h *harReader) body(own *events.Body, data []byte, size int64) *events.Body {
	if own == nil {
		own = &events.Body{Size: size}
	}
	if int64(len(data)) > h.MaxBody {
		data = data[:h.MaxBody]
	}
	return &events.Body{Data: data, Kept: int64(len(data)), Size: max(own.Size, size, int64(len(data))), Hmac: own.Hmac}
}

// decodedBody makes the headers fit a body whose content coding was undone, as
// the format has it: else its readers would unpack what is not packed.
func decodedBody(headers []*events.Field, data []byte, decoded bool) []*events.Field {
	coding := events.HeaderValue(headers, "Content-Encoding")
	if !decoded || len(data) == 0 || coding == "" || strings.EqualFold(coding, "gzip") && len(data) > 2 && data[0] == 0x1f && data[1] == 0x8b {
		return headers
	}
	setHeader(headers, "Content-Length", strconv.Itoa(len(data)))
	return without(headers, "Content-Encoding")
}

func content(c *harContent) (data []byte, decoded bool, err error) {
	if c.Raw != nil {
		return c.Raw, false, nil
	}
	if strings.EqualFold(c.Encoding, "base64") {
		data, err = unbase64(c.Text)
		return data, true, err
	}
	return []byte(c.Text), true, nil
}

func posted(p *harPosted) (data []byte, decoded bool, err error) {
	if p == nil {
		return nil, true, nil
	}
	if p.Raw != nil {
		return p.Raw, false, nil
	}
	if p.Text == "" && len(p.Params) > 0 && strings.Contains(p.MimeType, "urlencoded") {
		return []byte(form(p.Params)), true, nil
	}
	if strings.EqualFold(p.Encoding, "base64") {
		data, err = unbase64(p.Text)
		return data, true, err
	}
	return []byte(p.Text), false, nil
}

// form writes parameters as they are sent. Whether they are encoded in the
// file depends on who wrote it: those that are stay so.
func form(params []harPair) string {
	encode := func(s string) string {
		if plain, err := url.QueryUnescape(s); err == nil && plain != s && strings.ContainsAny(s, "%+") {
			return s
		}
		return url.QueryEscape(s)
	}
	var pairs []string
	for _, p := range params {
		pairs = append(pairs, encode(p.Name)+"="+encode(p.Value))
	}
	return strings.Join(pairs, "&")
}

func cookies(all []harPair) string {
	var pairs []string
	for _, c := range all {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}
