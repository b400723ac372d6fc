package env

func (l *loader) pinecone(_ *PineconeConfig) {}
