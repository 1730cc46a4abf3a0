package config

// Line is one setting as it is in force.
type Line struct {
	Variable string
	Value    string // redacted where the setting is a secret
	Default  bool   // true when the operator did not set it
	Source   string // "default", "environment" or "file PATH"
}

// Effective lists every setting in the order of the reference page, secrets redacted. The caller must not change it.
func (c *Config) Effective() []Line { return c.lines }
