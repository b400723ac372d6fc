package env

func (l *loader) milvus(_ *MilvusConfig) {}
