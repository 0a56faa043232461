// A key that is entered is kept as long as the page is open, and nowhere else: `persistAuthorization` stays off.
addEventListener("load", () => {
    window.ui = SwaggerUIBundle({
        url: "/openapi.json",
        dom_id: "#swagger-ui",
        layout: "BaseLayout",
        validatorUrl: "none",
        filter: true,
        tryItOutEnabled: true,
        deepLinking: true,
        displayRequestDuration: true,
        docExpansion: "list",
        defaultModelsExpandDepth: 0,
        presets: [SwaggerUIBundle.presets.apis],
        plugins: [SwaggerUIBundle.plugins.DownloadUrl, filterOperations],
    });
});

// The filter box finds tags, as it does without this, and operations by their paths and summaries.
const filterOperations = () => ({
    fn: {
        opsFilter: (tags, phrase) => {
            const has = (text) => text?.toLowerCase().includes(phrase.toLowerCase());
            const fits = (operation) =>
                has(operation.get("path")) || has(operation.getIn(["operation", "summary"]));
            return tags
                .map((tag, name) =>
                    has(name) ? tag : tag.update("operations", (all) => all.filter(fits)),
                )
                .filter((tag) => tag.get("operations").size > 0);
        },
    },
});
