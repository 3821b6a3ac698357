//go:build !paniconpurpose

package capture

import "tapedeck/wire"

// planted leaves a dissector as it is; see planted_panic.go.
func planted(d wire.Dissector) wire.Dissector { return d }
