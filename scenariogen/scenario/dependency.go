package scenario

import (
	"slices"
	"strings"

	"tapedeck/events"
)

// dependency is a backend that the recorded service called.
type dependency struct{ name, protocol, listen string }

// dependency numbers the backends by their names.
func (b *Builder) dependency(row *events.Row, x *events.Exchange) uint32 {
	name := dependencyName(row, x)
	i := slices.IndexFunc(b.names, func(d dependency) bool { return d.name == name })
	if i < 0 {
		i = len(b.names)
		b.names = append(b.names, dependency{name: name, protocol: x.Protocol})
	}
	if listen := x.GetConnection().GetListen(); listen != "" {
		b.names[i].listen = listen
	}
	return uint32(i)
}

// dependencyName is the host that the application named.
func dependencyName(row *events.Row, x *events.Exchange) string {
	if row.Host != "" {
		return row.Host
	}
	return strings.ToLower(x.GetConnection().GetServer())
}
