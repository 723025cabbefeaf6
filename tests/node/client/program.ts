// A client of the API, written against types that were generated from docs/openapi.yaml.
//
// Arguments: the API's address and a token.

import assert from "node:assert/strict";

import createClient from "openapi-fetch";

import type { components, paths } from "./schema";

const [address, token] = process.argv.slice(2);
assert(address && token);

const client = createClient<paths>({ baseUrl: address, headers: { Authorization: `Bearer ${token}` } });

const created = await client.POST("/api/v1/tasks", {
  params: { header: { "X-Correlation-ID": "from-a-generated-client" } },
  body: { title: "  Water the plants ", due_date: "2030-01-01T10:00:00+01:00" },
});
assert.equal(created.response.status, 201);
assert.equal(created.response.headers.get("x-correlation-id"), "from-a-generated-client");
const task: components["schemas"]["Task"] | undefined = created.data;
assert(task);
assert.equal(task.title, "Water the plants");
assert.equal(task.completed, false);
assert.equal(task.due_date, "2030-01-01T09:00:00Z");

const open = await client.GET("/api/v1/tasks", { params: { query: { completed: false } } });
assert.deepEqual(open.data, { tasks: [task], count: 1 });

const path = { id: task.id };
const completed = await client.POST("/api/v1/tasks/{id}/complete", { params: { path } });
assert.equal(completed.data?.completed, true);
assert.equal(completed.data?.created_at, task.created_at);

const patched = await client.PATCH("/api/v1/tasks/{id}", { params: { path }, body: { due_date: null } });
assert.equal(patched.data?.due_date, undefined);

const patch: components["schemas"]["TaskPatch"] = { title: " " };
const refused = await client.PATCH("/api/v1/tasks/{id}", { params: { path }, body: patch });
assert.equal(refused.response.status, 400);
assert(refused.error && refused.error.error.code !== "INTERNAL_ERROR");
assert.deepEqual(refused.error.error.details, [{ field: "title", message: "Title cannot be empty" }]);

const deleted = await client.DELETE("/api/v1/tasks/{id}", { params: { path } });
assert.equal(deleted.data?.message, "Task deleted successfully");

const gone = await client.GET("/api/v1/tasks/{id}", { params: { path } });
assert.equal(gone.response.status, 404);
assert.equal(gone.error?.error.message, "Task not found");

const healthy = await client.GET("/api/v1/health");
assert.equal(healthy.data?.status, "healthy");

console.log("done");
