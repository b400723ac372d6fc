package envform

import (
	"bytes"
	"strings"

	"gopkg.in/yaml.v3"
)

// pair is an entry of a mapping, with a comment above it.
type pair struct {
	key     string
	value   *yaml.Node
	comment string
}

func mapping(pairs ...pair) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, p := range pairs {
		key := plain(p.key)
		key.HeadComment = p.comment
		n.Content = append(n.Content, key, p.value)
	}
	return n
}

func list(items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: items}
}

// plain is text that no parser takes for anything else: a key, a name.
func plain(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// quoted is text that is quoted, so that it stays text: "yes" is a boolean to some
// parsers.
func quoted(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: s}
}

// number is an integer or a boolean.
func number(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

// write renders documents below a comment.
func write(head []string, docs ...*yaml.Node) (string, error) {
	var b bytes.Buffer
	for _, line := range head {
		b.WriteString("# " + line + "\n")
	}
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	for _, doc := range docs {
		if err := enc.Encode(doc); err != nil {
			return "", err
		}
	}
	if err := enc.Close(); err != nil {
		return "", err
	}
	return strings.ReplaceAll(b.String(), "\n\n", "\n"), nil
}
