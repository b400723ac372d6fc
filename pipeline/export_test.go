package pipeline

// TogetherBytes bounds what is written together.
const TogetherBytes = togetherBytes
