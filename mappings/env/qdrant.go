package env

func (l *loader) qdrant(_ *QdrantConfig) {}
