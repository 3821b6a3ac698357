package scenario

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// maxXMLDepth bounds the nesting, since each place names all that it lies in.
const maxXMLDepth = 200

var errDeepXML = errors.New("nested too deeply")

// looksXML says that an answer should be read as XML.
func looksXML(media string, data []byte) bool {
	if media != "application/xml" && media != "text/xml" && !strings.HasSuffix(media, "+xml") {
		return false
	}
	return bytes.HasPrefix(bytes.TrimLeft(data, "\ufeff \t\r\n"), []byte("<"))
}

// xmlLeaves reads the values of one XML document: the text of elements without
// children as $.Error.Code, attributes as $.Error.@lang, text beside children
// as $.Error.#text. A repeated element has its number from the second on:
// $.List.Item[1]. Name spaces, comments and blank text are left out.
func xmlLeaves(place string, body []byte) ([]leaf, error) {
	r := xmlReader{place: place, decoder: xml.NewDecoder(bytes.NewReader(body))}
	for {
		token, err := r.decoder.Token()
		if errors.Is(err, io.EOF) && len(r.leaves) > 0 && len(r.stack) == 0 {
			return r.leaves, nil
		}
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if err := r.take(token); err != nil {
			return nil, err
		}
	}
}

type xmlReader struct {
	place   string
	decoder *xml.Decoder
	stack   []*xmlFrame
	leaves  []leaf
}

// xmlFrame is an open element.
type xmlFrame struct {
	place, name string
	children    counter
	text        strings.Builder
}

func (r *xmlReader) take(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		return r.open(t)
	case xml.CharData:
		if len(r.stack) > 0 {
			r.stack[len(r.stack)-1].text.Write(t)
		}
	case xml.EndElement:
		frame := r.stack[len(r.stack)-1]
		r.stack = r.stack[:len(r.stack)-1]
		text := strings.TrimSpace(frame.text.String())
		switch {
		case len(frame.children) == 0:
			return r.leaf(frame.place, frame.name, text)
		case text != "":
			return r.leaf(frame.place+".#text", frame.name, text)
		}
	}
	return nil
}

func (r *xmlReader) open(t xml.StartElement) error {
	if len(r.stack) == maxXMLDepth {
		return errDeepXML
	}
	frame := &xmlFrame{name: t.Name.Local, children: counter{}}
	if len(r.stack) == 0 {
		if len(r.leaves) > 0 {
			return errors.New("more than one document")
		}
		frame.place = r.place + ".$" + jsonName(frame.name)
	} else {
		parent := r.stack[len(r.stack)-1]
		frame.place = parent.children.place(parent.place + jsonName(frame.name))
	}
	r.stack = append(r.stack, frame)
	for _, a := range t.Attr {
		if a.Name.Space == "xmlns" || a.Name.Local == "xmlns" {
			continue
		}
		if err := r.leaf(frame.place+".@"+a.Name.Local, a.Name.Local, a.Value); err != nil {
			return err
		}
	}
	return nil
}

func (r *xmlReader) leaf(place, key, value string) error {
	if len(r.leaves) >= maxLeaves {
		return errManyLeaves
	}
	r.leaves = append(r.leaves, leaf{place, key, kindText, value})
	return nil
}
