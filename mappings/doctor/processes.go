package doctor

func processChecks() []check {
	return []check{
		{"D34", Must, "ENABLE_DB_MIGRATIONS", "true on exactly one instance, false on all others", "after an update the database is not migrated, or several instances migrate it at once", migrations, false},
		{"D36", Should, "UVICORN_WORKERS", "1 where the orchestrator starts several instances", "memory and connections are used that it does not count",
			func(f Facts) verdict {
				return when(f.Replicas > 1 && f.workers() > 1, "more than 1", "UVICORN_WORKERS=1")
			}, false},
		{"D37", Must, "THREAD_POOL_SIZE", "2000 for many users; the default is 40", "the app stands still while the processor is idle",
			func(f Facts) verdict {
				n, _ := f.number("THREAD_POOL_SIZE")
				return when(f.several() && n < 2000, "below 2000", "THREAD_POOL_SIZE=2000")
			}, false},
		{"D40", Should, "ENABLE_REALTIME_CHAT_SAVE", "false", "every piece of an answer is written: no connection is free",
			func(f Facts) verdict {
				return when(f.is("ENABLE_REALTIME_CHAT_SAVE", false), "true", "ENABLE_REALTIME_CHAT_SAVE=false")
			}, false},
		{"D47", Should, "ENABLE_ORJSON", "true, which is the default", "three to four percent of the processor's time",
			func(f Facts) verdict {
				return when(!f.is("ENABLE_ORJSON", true), "not true", "ENABLE_ORJSON=true")
			}, false},
		{"D47", Should, "ENABLE_COMPRESSION_MIDDLEWARE", "false behind a proxy that compresses; the proxy does not buffer (proxy_buffering off) and keeps sessions on one instance", "answers arrive garbled, or all at once",
			func(f Facts) verdict {
				return when(f.several() && f.is("ENABLE_COMPRESSION_MIDDLEWARE", true), "true, which is the default", "ENABLE_COMPRESSION_MIDDLEWARE=false, if the proxy compresses")
			}, false},
		{"D43", Must, "ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS", "false with several workers", "workers install packages at the same time, and crash",
			func(f Facts) verdict {
				return when(f.workers() > 1 && f.is("ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS", true), "true, which is the default", "ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS=false")
			}, false},
	}
}

// migrations needs a word of the operator's: the variables of one instance do
// not tell of the others'.
func migrations(f Facts) verdict {
	on := f.Migrates()
	switch {
	case f.Primary && on:
		return verdict{found: "true, though another instance migrates", line: "ENABLE_DB_MIGRATIONS=false"}
	case f.Primary:
		return verdict{}
	case !on:
		return verdict{found: "false: no instance is left to run the migrations", line: "ENABLE_DB_MIGRATIONS=true on one instance (say --primary when there is one)"}
	}
	return when(f.Replicas > 1, "true on every instance", "ENABLE_DB_MIGRATIONS=false on all instances but one (say --primary when there is one)")
}
