package events

// MetadataOnly is the action of the one mark of an exchange that could not be
// redacted: method, host, template of the path, status, sizes and times are all
// that is left of it.
const MetadataOnly = "metadata only"

// OnlyMetadata says that x is such an exchange.
func (x *Exchange) OnlyMetadata() bool {
	for _, r := range x.GetRedactions() {
		if r.Action == MetadataOnly {
			return true
		}
	}
	return false
}
