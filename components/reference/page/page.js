// Shows /api/openapi.json. It is a file of its own, because the page's policy allows no script inside of it.
SwaggerUIBundle({
  dom_id: "#page",
  url: "/api/openapi.json",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  // What a document says of itself would be checked by a service elsewhere.
  validatorUrl: null,
});
