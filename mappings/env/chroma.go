package env

func (l *loader) chroma(c *ChromaConfig) {
	c.Tenant, c.Database = "default_tenant", "default_database"
	if s := l.vars["CHROMA_TENANT"]; s != "" {
		c.Tenant = s
	}
	if s := l.vars["CHROMA_DATABASE"]; s != "" {
		c.Database = s
	}
	if l.vars["CHROMA_HTTP_HOST"] != "" {
		l.notYet("CHROMA_HTTP_HOST", "a Chroma server", "stop that server and move from the folder it keeps its data in: "+
			l.prefix()+"CHROMA_HTTP_HOST= (empty) with that folder as vector_db in DATA_DIR")
	}
}
