package harness

import (
	"slices"
	"testing"
	"time"

	"tapedeck/events"
)

// minutes is how long the shop's traffic lasts.
const minutes = 50

// shopTraffic is an hour of a shop: each minute a checkout through the gateway,
// which calls orders, which calls a database and a payment service outside.
// Every fifth payment fails, and the checkout with it; some clients ask for
// what is not there.
func shopTraffic() (list []sample) {
	in, out := events.Direction_INBOUND, events.Direction_OUTBOUND
	for i := range minutes {
		at, n := hour.Add(time.Duration(i)*time.Minute), byte(i+1)
		status, class := "200", events.StatusClass_OK
		if i%5 == 0 {
			status, class = "503", events.StatusClass_SERVER
		}
		call := func(after, took time.Duration, service string, direction events.Direction, host, template string, span, parent byte) sample {
			s := sample{at: at.Add(after), service: service, direction: direction, host: host, template: template,
				status: status, class: class, duration: took, session: n, trace: n, span: span, parent: parent, tag: "a"}
			list = append(list, s)
			return s
		}
		ms := time.Millisecond
		call(0, 100*ms+time.Duration(i)*ms, "gateway", in, "shop.example", "/checkout", 1, 0)
		call(1*ms, 80*ms, "gateway", out, "orders:8080", "/orders", 2, 1)
		call(2*ms, 78*ms, "orders", in, "orders:8080", "/orders", 2, 1)
		call(3*ms, 40*ms, "orders", out, "pay.example", "/charge", 4, 2)
		db := call(50*ms, 2*ms, "orders", out, "db:5432", "select * from stock where id = ?", 3, 2)
		list[len(list)-1] = db.database()
	}
	for i := range 7 {
		list = append(list, sample{at: hour.Add(time.Duration(i) * time.Second), service: "gateway", direction: in, host: "shop.example",
			template: "/missing", path: "/missing/" + string(rune('a'+i)), method: "GET", status: "404", class: events.StatusClass_CLIENT, duration: time.Millisecond})
	}
	return list
}

// database is the sample as a statement that a database answered.
func (s sample) database() sample {
	s.protocol, s.method, s.status, s.class = "postgres", "SELECT", "", events.StatusClass_OK
	return s
}

// shop is an index of the shop's traffic, with a plugin to ask about it.
func shop(t *testing.T) (x *index, h *Host, samples []sample, ids []events.ID) {
	t.Helper()
	x, h, samples = newIndex(t), start(t), shopTraffic()
	ids = x.write(samples...)
	return x, h, samples, ids
}

// count counts samples.
func count(samples []sample, which func(sample) bool) (n float64) {
	for _, s := range samples {
		if which(s) {
			n++
		}
	}
	return n
}

func failed(s sample) bool {
	return slices.Contains([]events.StatusClass{events.StatusClass_SERVER, events.StatusClass_FAILED}, s.class)
}
