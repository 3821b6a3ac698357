package cli

// Commands is the table of commands, in the order of the help.
func Commands() []Command {
	return []Command{
		{Name: "demo", Group: People, Help: "All of it on a small shop of services, from the recording to the report.",
			New: func() any { return new(demoCommand) },
			Examples: []string{
				"demo  # about half a minute; nothing else is needed",
				"demo --data shop --database $DSN  # keep what it recorded in ./shop, with an index",
			}},
		{Name: "traffic", Group: People, Help: "Look at recorded traffic in the terminal.",
			New: func() any { return new(trafficCommand) },
			Examples: []string{
				"traffic  # the newest 50 exchanges",
				"traffic '{service=\"cart\" && status>=500 && duration>200ms}' --since 1h",
				"traffic list --last --text 'out of stock' -o json  # of the last recording, for jq",
				"traffic show 5c1f09ab  # one exchange with headers and bodies",
				"traffic tail --service orders  # follow",
			}},
		{Name: "admin", Group: Operations, Help: "Set up and look after what tapedeck runs on.",
			New: func() any { return new(adminCommand) },
			Examples: []string{
				"admin setup --nats nats://localhost:4222  # streams, durable consumers and buckets, once",
				"admin doctor --nats nats://localhost:4222 --database $DSN --archive s3://tapes  # what is wrong, and what to do",
			}},
		{Name: "version", Group: Operations, Help: "Print the version.",
			New:      func() any { return new(versionCommand) },
			Examples: []string{"version -o json"}},
	}
}
