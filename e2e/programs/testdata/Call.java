import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

class Call {
    public static void main(String[] urls) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String url : urls)
            System.out.println(client.send(HttpRequest.newBuilder(URI.create(url)).build(), BodyHandlers.ofString()).body());
    }
}
