package redact

import "sync"

// view is what the rules that hold for an exchange make of names and values.
type view struct {
	key   *Key
	full  bool // false: credentials by name only (--redact headers)
	rules []*Rule
	look  func(at location, place string, value []byte) // of the scan; nil: nobody looks
	// classes says what is done to values of each class.
	classes [classes]treatment
	caches  sync.Pool // of *nameCache
	bodies  sync.Pool // of *jsonBody
}

func newView(key *Key, full bool, rules []*Rule, off map[Class]bool) *view {
	v := &view{key: key, full: full, rules: rules}
	for c := Credential; c < classes; c++ {
		action := Token
		if off[c] || !full && c != Credential {
			action = Keep
		}
		v.classes[c] = treatment{c, action}
	}
	for _, r := range rules { // the first rule for a detector wins
		if r.Detector != None && v.classes[r.Detector].action == defaultAction(off, r.Detector) {
			v.classes[r.Detector] = r.treatment()
		}
	}
	v.caches.New = func() any { return &nameCache{} }
	v.bodies.New = func() any { return &jsonBody{scope: scope{view: v}, cache: v.caches.Get().(*nameCache)} }
	return v
}

func defaultAction(off map[Class]bool, c Class) Action {
	if off[c] {
		return Keep
	}
	return Token
}

// detects says whether values are found by their looks.
func (v *view) detects(c Class) bool { return v.full && v.classes[c].action != Keep }

// class is the class of the values under a name.
func (v *view) class(name []byte) Class {
	t := v.named(name, anywhere)
	if t.action == Keep {
		return None
	}
	return t.class
}

// named is what is done to the values under a name at a kind of place.
func (v *view) named(name []byte, at location) treatment {
	if len(name) < 3 && len(v.rules) == 0 {
		return treatment{}
	}
	for _, r := range v.rules {
		if r.Key != nil && r.in(at) && r.Key.Match(name) && r.Path == nil && r.Value == nil && r.Detector == None {
			return r.treatment()
		}
	}
	return v.classes[classByName(name, v.full)]
}

// nameCache remembers what was said of names at one kind of place: the keys of
// bodies are the same all the time.
type nameCache [256]struct {
	name  string
	at    location
	clean bool // nothing is found in the name itself
	treatment
}

func (c *nameCache) named(v *view, name []byte, at location) (known string, t treatment, clean bool) {
	n := len(name)
	if n == 0 || n > maxName {
		return string(name[:min(n, maxName)]), treatment{}, false
	}
	slot := &c[uint8(n*31)+name[0]*7^name[n-1]*13^name[n/2]*5]
	if slot.name != string(name) || slot.at != at {
		slot.name, slot.at, slot.treatment = string(name), at, v.named(name, at)
		_, slot.clean, _ = scope{view: v, at: at}.find(name)
	}
	return slot.name, slot.treatment, slot.clean
}

// location is a kind of place where values stand.
type location uint16

const (
	inHeader location = 1 << iota
	inCookie
	inQuery
	inPath
	inForm
	inMultipart
	inJSON
	inXML
	inGRPC
	inText
	inMessage
	anywhere location = 1<<iota - 1
)

var locationNames = map[string]location{
	"header": inHeader, "cookie": inCookie, "query": inQuery, "path": inPath, "form": inForm, "multipart": inMultipart,
	"json": inJSON, "xml": inXML, "grpc": inGRPC, "text": inText, "sql": inText, "message": inMessage,
}
