package config

import "strings"

// other programs' words for our settings, where the spelling is no help.
var elsewhere = map[string]string{
	"ADDR": "LISTEN", "ADDRESS": "LISTEN", "BIND": "LISTEN", "BIND_TO": "LISTEN", "PORT": "LISTEN", "HOST": "PUBLIC_HOST",
	"KEY": "SECRET", "TOKEN": "SECRET", "DOMAIN": "FRONT", "UPSTREAM": "FRONT", "SNI": "SECRET", "FALLBACK": "FRONT",
	"DOMAIN_FRONTING": "FRONT", "METRICS": "ADMIN_LISTEN", "METRICS_LISTEN": "ADMIN_LISTEN", "HEALTH": "ADMIN_LISTEN",
	"DEBUG": "LOG_LEVEL", "VERBOSE": "LOG_LEVEL", "CONCURRENCY": "MAX_CONNECTIONS", "SKEW": "CLOCK_SKEW", "PREFER_IP": "IP_PREFERENCE",
}

// suggestion is a hint that names the setting the operator may have meant, or where they all are listed.
func suggestion(name string) string {
	own := strings.TrimPrefix(name, Prefix)
	bare := strings.TrimSuffix(own, "_FILE")
	file := own[len(bare):]
	if meant := elsewhere[bare]; meant != "" {
		return "did you mean " + Prefix + meant + file + "?"
	}
	best, least := "", 1+max(1, len(bare)/3)
	for _, s := range settings {
		if d := distance(bare, s.name); d < least {
			best, least = s.name, d
		}
	}
	if best == "" {
		return "sluice check lists every setting"
	}
	return "did you mean " + Prefix + best + file + "?"
}

// distance counts the letters to insert, delete, replace or swap with a neighbour to turn a into b.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now := make([]int, len(b)+1)
		now[0] = i
		for j := 1; j <= len(b); j++ {
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+differ(a[i-1], b[j-1]))
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last = last, now
	}
	return last[len(b)]
}

func differ(x, y byte) int {
	if x == y {
		return 0
	}
	return 1
}
