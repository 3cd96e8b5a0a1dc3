// Package many reads lines of {"id", "do", "chart", "namespace", "values", "set_json"} and does each with one Helm, in one
// process. A line {"id", "output", "hooks", "error"} answers each as soon as it is done, in any order.
package many

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Job is one call of the Helm command: `lint --strict`, `template` or `upgrade --install`, for the release `obs`.
type Job struct {
	ID        int      `json:"id"`
	Do        string   `json:"do"`
	Chart     string   `json:"chart"`
	Namespace string   `json:"namespace"`
	Values    string   `json:"values"`
	SetJSON   []string `json:"set_json"`
}

// ValueFiles is what the command would be given with --values.
func (j Job) ValueFiles() []string {
	if j.Values == "" {
		return nil
	}
	return []string{j.Values}
}

// Answer holds what the command prints (of an upgrade: the release's manifest and hooks), and its error without `Error: `.
type Answer struct {
	ID     int    `json:"id"`
	Output string `json:"output"`
	Hooks  string `json:"hooks"`
	Error  string `json:"error"`
}

// Hook is one of a release's hooks.
type Hook struct{ Path, Manifest string }

// Helm is one major version of it.
type Helm interface {
	// Lint returns the messages, and how many of them are errors where warnings are errors too.
	Lint(Job) (messages []string, errors []error, err error)
	Template(Job) (manifest string, hooks []Hook, err error)
	Upgrade(Job) (manifest string, hooks []Hook, err error)
}

// Main answers standard input until it ends, as many jobs at once as the first argument says.
func Main(helm Helm) {
	workers, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var writing sync.Mutex
	answers := json.NewEncoder(os.Stdout)
	jobs := make(chan Job)
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for job := range jobs {
				answer := do(helm, job)
				writing.Lock()
				if err := answers.Encode(answer); err != nil {
					log.Fatal(err)
				}
				writing.Unlock()
			}
		})
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var job Job
		if err := json.Unmarshal(lines.Bytes(), &job); err != nil {
			log.Fatal(err)
		}
		jobs <- job
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
	close(jobs)
	working.Wait()
}

func do(helm Helm, job Job) Answer {
	answer := Answer{ID: job.ID}
	var hooks []Hook
	var err error
	switch job.Do {
	case "lint":
		answer.Output, err = lint(helm, job)
	case "template":
		answer.Output, hooks, err = helm.Template(job)
		if err == nil {
			answer.Output = strings.TrimSpace(answer.Output) + "\n" + documents(hooks)
		}
	case "upgrade":
		answer.Output, hooks, err = helm.Upgrade(job)
		answer.Hooks = documents(hooks)
	default:
		err = fmt.Errorf("unknown job `%s`", job.Do)
	}
	if err != nil {
		answer.Error = err.Error()
	}
	return answer
}

// documents is what the command prints of hooks.
func documents(hooks []Hook) string {
	var text strings.Builder
	for _, hook := range hooks {
		fmt.Fprintf(&text, "---\n# Source: %s\n%s\n", hook.Path, hook.Manifest)
	}
	return text.String()
}

// lint is what the command prints of one chart.
func lint(helm Helm, job Job) (string, error) {
	messages, failures, err := helm.Lint(job)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "==> Linting %s\n", job.Chart)
	if len(messages) == 0 {
		for _, failure := range failures {
			fmt.Fprintf(&text, "Error %s\n", failure)
		}
	}
	for _, message := range messages {
		fmt.Fprintln(&text, message)
	}
	fmt.Fprintln(&text)
	if len(failures) > 0 {
		return text.String(), fmt.Errorf("1 chart(s) linted, 1 chart(s) failed")
	}
	fmt.Fprintln(&text, "1 chart(s) linted, 0 chart(s) failed")
	return text.String(), nil
}
