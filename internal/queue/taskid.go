package queue

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// lanes are the kinds whose task ids name their lane.
var lanes = map[string]tasks.Kind{
	"revoke":  tasks.KindRevoke,
	"deliver": tasks.KindDeliver,
}

// ParseTaskID reads what [tasks.Task.ID] has written. The kind is empty for a
// task of the job's main lane, whose id does not tell it.
func ParseTaskID(id string) (tasks.Task, error) {
	var task tasks.Task
	jobID, rest, _ := strings.Cut(id, ":")
	step, gen, ok := strings.Cut(rest, ":")
	if lane, number, named := strings.Cut(step, "-"); named {
		if task.Kind, ok = lanes[lane]; ok {
			step = number
		}
	}
	var stepErr, genErr error
	task.JobID = jobID
	task.Step, stepErr = strconv.ParseInt(step, 10, 64)
	task.Gen, genErr = strconv.Atoi(gen)
	if !ok || jobID == "" || stepErr != nil || genErr != nil || task.ID() != id {
		return tasks.Task{}, fmt.Errorf("%q is not the id of a task", id)
	}
	return task, nil
}
