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
		{Name: "record", Group: People, Program: true, Help: "Record the traffic of a program on this machine.",
			New: func() any { return new(recordCommand) },
			Examples: []string{
				"record --inbound 8080=localhost:3000 -- npm start  # callers use port 8080 instead of 3000",
				"record --inbound 8080=localhost:3000 --outbound 8081 -- npm start  # its calls as well, through a proxy on 8081",
				"record --inbound 8080=localhost:3000 --outbound 8082=payments.internal:80 -- ./shop  # one dependency by name; point the program at localhost:8082",
				"record --service cart --inbound 8080=localhost:3000  # of a program that runs already, until Ctrl-C",
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
		{Name: "scenario", Group: People, Help: "Make scenarios of recorded traffic, and handle them.",
			New: func() any { return new(scenarioCommand) },
			Examples: []string{
				"scenario create checkout --last  # of the last recording",
				"scenario create errors --selector '{service=\"cart\" && status>=500}' --since 24h",
				"scenario show checkout  # tests, mocks, and what was learned",
				"scenario export checkout testdata/checkout  # files to edit and commit",
			}},
		{Name: "replay", Group: People, Program: true, Help: "Run a scenario against a target and say whether it passes.",
			New: func() any { return new(replayCommand) },
			Examples: []string{
				"replay checkout --target http://localhost:3000",
				"replay checkout --mock --target http://localhost:3000 -- npm start  # with its dependencies mocked",
				"replay testdata/checkout --mock --target http://localhost:3000 --junit out.xml -- ./shop  # in CI; exit 0 passed, 1 missed, 2 could not run",
				"replay checkout --target http://localhost:3000 --rate 500 --duration 1m --goal 'latency.p99 < 200ms'  # load",
			}},
		{Name: "mock", Group: People, Program: true, Help: "Answer for a service's dependencies from a scenario.",
			New: func() any { return new(mockCommand) },
			Examples: []string{
				"mock checkout -- npm start  # develop without the real dependencies",
				"mock checkout --listen payments.internal=8082  # until Ctrl-C",
			}},
		{Name: "capture", Group: Services, Help: "Relay and record a service's traffic (the sidecar).",
			New: func() any { return new(captureCommand) },
			Examples: []string{
				"capture --nats nats://nats:4222 --service cart --inbound 8080=localhost:3000 --outbound 8081",
			}},
		{Name: "archiver", Group: Services, Help: "Put captured tapes into the archive.",
			New:      func() any { return new(archiverCommand) },
			Examples: []string{"archiver --nats nats://nats:4222 --archive 's3://tapes/prod?endpoint=https://s3.example&region=eu'"}},
		{Name: "indexer", Group: Services, Help: "Put captured tapes into the index.",
			New:      func() any { return new(indexerCommand) },
			Examples: []string{"indexer --nats nats://nats:4222 --database postgres://tapedeck@timescale/tapedeck"}},
		{Name: "scenariogen", Group: Services, Help: "Make scenarios on request.",
			New:      func() any { return new(scenariogenCommand) },
			Examples: []string{"scenariogen --nats nats://nats:4222 --archive 's3://tapes/prod?endpoint=https://s3.example&region=eu'"}},
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
